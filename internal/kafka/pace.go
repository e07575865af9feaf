package kafka

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// paceAnswers is the number of answers in a row of which even the quickest must be slow before a cluster counts as
// slow. A broker that is overloaded for a moment, or far behind with some requests, answers others quickly.
const paceAnswers = 5

// pace finds out whether the brokers are slower than the timeouts were made for. With timeouts that are too tight jobs
// are still acked, but each short disturbance gives indeterminate acks and takes leases and partitions away.
type pace struct {
	slow    time.Duration // bound of one answer
	produce time.Duration
	profile string
	own     bool // produce is not the profile's
	log     *slog.Logger

	mu       sync.Mutex // guards the rest
	answers  int        // since quickest was reset
	quickest time.Duration
	found    time.Duration // the quickest of the last paceAnswers, if it was slow; else 0
	saidAt   time.Time
}

// paces has the pace of each open client.
var paces sync.Map // *kgo.Client → *pace

func newPace(t Timeouts, log *slog.Logger) *pace {
	b := t.Bounds()
	return &pace{slow: b.Slow, produce: b.Produce, profile: t.withProfile().Profile, own: t.Produce != 0, log: log}
}

// TooSlow returns an error that says that the brokers are slower than a client's timeouts were made for, and which
// setting mends it; nil while they are not.
func TooSlow(cl *kgo.Client) error {
	p, ok := paces.Load(cl)
	if !ok {
		return nil
	}
	return p.(*pace).err()
}

func (p *pace) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found == 0 {
		return nil
	}
	return fmt.Errorf("kafka takes %s and more to write a record, too long for kafka-profile=%s (kafka-produce-timeout "+
		"is %s): %s", p.found.Round(time.Millisecond), p.profile, p.produce, p.advice())
}

// advice says which setting suits the answers that were found. p.mu is held.
func (p *pace) advice() string {
	if better := ProfileFor(p.found); better != p.profile && !p.own {
		return "set kafka-profile=" + better
	}
	return "raise kafka-produce-timeout"
}

// OnNewClient implements kgo.HookNewClient.
func (p *pace) OnNewClient(cl *kgo.Client) { paces.Store(cl, p) }

// OnClientClosed implements kgo.HookClientClosed.
func (p *pace) OnClientClosed(cl *kgo.Client) { paces.Delete(cl) }

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (p *pace) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	if key != kmsg.Produce.Int16() || e.Err() != nil || !p.answered(e.DurationE2E(), time.Now()) {
		return
	}
	p.log.Warn("Kafka is slower than this process's timeouts were made for", "err", p.err())
}

// answered notes how long an answer took, and reports whether to log that the brokers are slow.
func (p *pace) answered(took time.Duration, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answers == 0 || took < p.quickest {
		p.quickest = took
	}
	p.answers++
	if p.quickest <= p.slow {
		p.answers, p.found = 0, 0
		return false
	}
	if p.answers < paceAnswers {
		return false
	}
	p.found, p.answers = p.quickest, 0
	if !p.saidAt.IsZero() && now.Sub(p.saidAt) < sayAgain {
		return false
	}
	p.saidAt = now
	return true
}
