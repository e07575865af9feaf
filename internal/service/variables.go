package service

// JobVariables is the prefix of the environment variables by which a worker tells a command about its job. No
// flag but --job-types may have such a variable, or one of Ackwire's own programs, started as a handler, would
// take the job's variables for its settings.
const JobVariables = "ACKWIRE_JOB_"
