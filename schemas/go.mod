module github.com/ackwire/ackwire/schemas

go 1.26.0

require (
	connectrpc.com/connect v1.21.1
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/goccy/go-yaml v1.19.2
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3
)

require (
	github.com/ackwire/ackwire/internal/api v0.0.0
	golang.org/x/text v0.43.0
)

replace github.com/ackwire/ackwire/internal/api => ../internal/api
