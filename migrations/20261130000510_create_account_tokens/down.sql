DROP TRIGGER users_ask_for_verification ON users;
DROP FUNCTION ask_for_verification();
DROP TABLE account_tokens;
