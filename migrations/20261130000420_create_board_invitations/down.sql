DROP TABLE board_invitations;
