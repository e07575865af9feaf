package frame

// MaxFollowedStreams bounds the streams of jobs that a socket or an event stream follows.
const MaxFollowedStreams = 256
