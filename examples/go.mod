module github.com/ackwire/ackwire/examples

go 1.26.0

require (
	github.com/ackwire/ackwire v0.0.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/ackwire/ackwire/schemas v0.0.0 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/coder/websocket v1.8.15 // indirect
	go.opentelemetry.io/otel v1.46.0 // indirect
	go.opentelemetry.io/otel/trace v1.46.0 // indirect
)

replace (
	github.com/ackwire/ackwire => ../
	github.com/ackwire/ackwire/schemas => ../schemas
)
