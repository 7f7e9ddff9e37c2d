DROP TABLE processing_jobs;
DROP TYPE job_status;
DROP TYPE job_type;
