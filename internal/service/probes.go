package service

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
)

// Ready returns nil when a service is ready to take work, else the reason why it is not. It must not block.
type Ready func() error

// probes answers the health checks of an orchestrator such as Kubernetes: /healthz tells whether to restart the
// process, /readyz whether to send it work, and /startupz whether it has started. Starting may take long while a
// tracker restores, and must not cause a restart.
type probes struct {
	parts   map[string]Ready
	started atomic.Bool // all parts have been ready at the same time
}

// answer is the body of readyz and startupz.
type answer struct {
	Ready   bool                 `json:"ready"`
	Reasons map[string]string    `json:"reasons,omitempty"` // of the parts that are not ready
	Parts   map[string]partState `json:"parts,omitempty"`
}

type partState struct {
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

func (p *probes) ask() answer {
	a := answer{Ready: true, Parts: map[string]partState{}}
	for name, ready := range p.parts {
		err := ready()
		if err == nil {
			a.Parts[name] = partState{Ready: true}
			continue
		}
		if a.Reasons == nil {
			a.Reasons = map[string]string{}
		}
		a.Ready, a.Reasons[name], a.Parts[name] = false, err.Error(), partState{Reason: err.Error()}
	}
	if a.Ready {
		p.started.Store(true)
	}
	return a
}

func (p *probes) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

func (p *probes) readyz(w http.ResponseWriter, reasons bool) {
	a := p.ask()
	say(w, a, a.Ready, reasons)
}

// startupz answers 200 once all parts have been ready at the same time. Its body is readyz's, which tells how
// far the start has come.
func (p *probes) startupz(w http.ResponseWriter, reasons bool) {
	a := p.ask()
	say(w, a, p.started.Load(), reasons)
}

// say writes an answer; without reasons, which name addresses, it only tells what is ready.
func say(w http.ResponseWriter, a answer, fine, reasons bool) {
	if !reasons {
		a.Reasons = nil
		for name, part := range a.Parts {
			a.Parts[name] = partState{Ready: part.Ready}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if !fine {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(a)
}
