-- PostgreSQL takes no value out of a type; those that nobody uses do no harm.
SELECT;
