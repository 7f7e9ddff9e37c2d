DROP TABLE board_presence;
