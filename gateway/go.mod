module github.com/ackwire/ackwire/gateway

go 1.26
