module github.com/ackwire/ackwire/clients/go

go 1.26.0

require (
	github.com/ackwire/ackwire/schemas v0.0.0
	github.com/coder/websocket v1.8.15
	go.uber.org/goleak v1.3.0
)

require github.com/stretchr/testify v1.12.1 // indirect

replace github.com/ackwire/ackwire/schemas => ../../schemas
