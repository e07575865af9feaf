package api

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/jobtypes"
)

// uncounted counts nothing.
type uncounted struct{}

func (uncounted) Error(code.Code) {}
func (uncounted) Sent([]int64)    {}
func (uncounted) TooSlowToSend()  {}

// quietDoor is a door without clients.
func quietDoor() *door {
	return &door{answers{&Config{
		Settings: Settings{Types: jobtypes.Default()}, Metrics: NewMetrics(prometheus.NewRegistry(), uncounted{}),
		Log: slog.New(slog.DiscardHandler),
	}}}
}
