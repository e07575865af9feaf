module github.com/ackwire/ackwire/embedded

go 1.26.0

require (
	github.com/ackwire/ackwire/clients/go v0.0.0
	github.com/ackwire/ackwire/gateway v0.0.0
	github.com/ackwire/ackwire/internal v0.0.0
	github.com/ackwire/ackwire/processor v0.0.0
	github.com/ackwire/ackwire/schemas v0.0.0
	github.com/ackwire/ackwire/tracker v0.0.0
)

require (
	github.com/alecthomas/kong v1.17.0 // indirect
	github.com/coder/websocket v1.8.15 // indirect
	github.com/gofrs/flock v0.13.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/mitchellh/colorstring v0.0.0-20190213212951-d06e56a500db // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
	github.com/schollz/progressbar/v3 v3.19.1 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/term v0.47.0 // indirect
)

replace (
	github.com/ackwire/ackwire/clients/go => ../clients/go
	github.com/ackwire/ackwire/gateway => ../gateway
	github.com/ackwire/ackwire/internal => ../internal
	github.com/ackwire/ackwire/processor => ../processor
	github.com/ackwire/ackwire/schemas => ../schemas
	github.com/ackwire/ackwire/tracker => ../tracker
)
