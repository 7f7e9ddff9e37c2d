DROP TABLE board_share_uses;
DROP TABLE board_shares;
DROP TABLE board_collaborators;
DROP TYPE share_permission;
DROP TABLE boards;
