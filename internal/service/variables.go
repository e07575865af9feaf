package service

// JobVariables is how the names of variables begin that a command of ours gives to what it starts
// for a job. A program of ours in its place must not take them for settings of its own: no flag
// is named so, but for --job-types.
const JobVariables = "ACKWIRE_JOB_"
