DROP TABLE service_modes;
