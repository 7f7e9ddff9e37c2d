DROP TABLE board_imports;
