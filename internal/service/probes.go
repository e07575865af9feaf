package service

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
)

// Ready is something that can say why it takes no work; nil means that it does.
// It must not block.
type Ready func() error

// probes answer what runs the process, such as Kubernetes: whether it is to be started anew (healthz), whether
// it is to be sent work (readyz), and whether it has come up at all (startupz), which may
// take long while a tracker restores, and is no reason to start it anew.
type probes struct {
	parts   map[string]Ready
	started atomic.Bool // all parts have been ready at the same time
}

// answer is what readyz and startupz say.
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

func (p *probes) readyz(w http.ResponseWriter, _ *http.Request) {
	a := p.ask()
	say(w, a, a.Ready)
}

// startupz is 200 from the moment on in which everything was ready for the first time. Its
// body is that of readyz: before, it tells how far the start has come.
func (p *probes) startupz(w http.ResponseWriter, _ *http.Request) {
	a := p.ask()
	say(w, a, p.started.Load())
}

func say(w http.ResponseWriter, a answer, fine bool) {
	w.Header().Set("Content-Type", "application/json")
	if !fine {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(a)
}
