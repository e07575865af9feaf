module github.com/ackwire/ackwire

go 1.26.0

require (
	github.com/ackwire/ackwire/schemas v0.0.0
	github.com/coder/websocket v1.8.15
	go.opentelemetry.io/otel/trace v1.46.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/goccy/go-yaml v1.19.2 // indirect
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3 // indirect
	golang.org/x/text v0.43.0 // indirect
)

require (
	github.com/ackwire/ackwire/internal/api v0.0.0
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	go.opentelemetry.io/otel v1.46.0 // indirect
)

replace github.com/ackwire/ackwire/schemas => ./schemas

replace github.com/ackwire/ackwire/internal/api => ./internal/api
