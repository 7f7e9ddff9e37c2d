DROP FUNCTION refuse_change();
DROP FUNCTION fold_text(text);
DROP FUNCTION name_key(text);
DROP FUNCTION uuid_v7();
DROP EXTENSION vector;
