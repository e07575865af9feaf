module github.com/ackwire/ackwire/loadtest

go 1.26
