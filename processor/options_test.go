package processor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/schemas/job"
)

// TestDefaultsOfOptions: no option is required, and nil values count as not given.
func TestDefaultsOfOptions(t *testing.T) {
	for what, opts := range map[string][]Option{
		"none": nil,
		"nil":  {nil, WithLogger(nil), WithMetrics(nil), WithTracerProvider(nil), WithDialer(nil), WithBlobs(nil)},
	} {
		p, err := New(Config{}, opts...)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if p.log == nil || p.env.Dial == nil || p.tracer != nil || p.blobs != nil {
			t.Errorf("%s: %+v", what, p.env)
		}
		families, err := prometheus.DefaultGatherer.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if strings.HasPrefix(f.GetName(), "ackwire_") {
				t.Errorf("%s: %s is registered", what, f.GetName())
			}
		}
	}
	var log bytes.Buffer
	p, err := New(Config{}, quiet(), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	p.log.Info("said")
	if !strings.Contains(log.String(), "said") {
		t.Error("the last one of two options does not hold")
	}
}

// TestOneRegistryTakesOneProcessor: a second processor is an error that does not affect the first one's metrics, unless
// it has labels of its own.
func TestOneRegistryTakesOneProcessor(t *testing.T) {
	r := prometheus.NewRegistry()
	count := func() int {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		return len(families)
	}
	if _, err := New(Config{}, quiet(), WithMetrics(r)); err != nil {
		t.Fatal(err)
	}
	before := count()
	if _, err := New(Config{}, quiet(), WithMetrics(r)); err == nil || !strings.Contains(err.Error(), "metrics") {
		t.Errorf("the second processor: %v", err)
	}
	if now := count(); now != before || before == 0 {
		t.Errorf("%d metrics before, %d after", before, now)
	}
	fresh := prometheus.NewRegistry()
	taken := prometheus.CounterOpts{Name: "ackwire_processor_leases_lost_total", Help: "Another's."}
	fresh.MustRegister(prometheus.NewCounter(taken))
	if _, err := New(Config{}, quiet(), WithMetrics(fresh)); err == nil {
		t.Error("a name that is taken was taken again")
	}
	families, err := fresh.Gather()
	if err != nil || len(families) != 1 {
		t.Errorf("%d metrics stay behind after an error, %v", len(families), err)
	}
}

func TestTwoProcessorsWithLabelsOfTheirOwn(t *testing.T) {
	r := prometheus.NewRegistry()
	for _, name := range []string{"a", "b"} {
		own := prometheus.WrapRegistererWith(prometheus.Labels{"of": name}, r)
		p, err := New(Config{}, quiet(), WithMetrics(own))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for range 2 { // a processor has several, which share their metrics
			client, err := p.kafka.NewClient(p.env, name)
			if err != nil {
				t.Fatal(err)
			}
			client.Close()
		}
	}
}

// TestAConfigIsCopied: a program may change its slices after New.
func TestAConfigIsCopied(t *testing.T) {
	lanes := []string{"a", "b"}
	p, err := New(Config{Lanes: lanes}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	lanes[0] = "changed"
	if p.cfg.Lanes[0] != "a" {
		t.Error("the lanes are the caller's")
	}
}

// TestWithDialer: every connection is made by the dialer.
func TestWithDialer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	asked := make(chan string, 64)
	dial := func(_ context.Context, network, address string) (net.Conn, error) {
		select {
		case asked <- network + " " + address:
		default:
		}
		cancel()
		return nil, errors.New("no network")
	}
	p, err := New(Config{Brokers: []string{"kafka.example:9092"}}, quiet(), WithDialer(dial))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(ctx); err != nil {
		t.Error(err)
	}
	if got := <-asked; got != "tcp kafka.example:9092" {
		t.Errorf("dialled %s", got)
	}
}

// shelf is a minimal implementation of Blobs.
type shelf map[string]string

func (s shelf) Put(_ context.Context, key, _, _ string, content io.Reader) error {
	b, err := io.ReadAll(content)
	if err != nil {
		return errors.New("the store tells no cause")
	}
	s[key] = string(b)
	return nil
}

func (s shelf) Get(_ context.Context, key string, limit int64) ([]byte, error) {
	b, ok := s[key]
	switch {
	case !ok:
		return nil, &fs.PathError{Op: "open", Path: key, Err: fs.ErrNotExist}
	case int64(len(b)) > limit:
		return nil, errors.New("too large")
	}
	return []byte(b), nil
}

// TestAnyStoreWillDo: the processor checks the limit and classifies errors itself, for any implementation of Blobs.
func TestAnyStoreWillDo(t *testing.T) {
	store := shelf{}
	p, err := New(Config{FileLimit: 10}, quiet(), WithBlobs(store))
	if err != nil {
		t.Fatal(err)
	}
	put := func(content string) (int64, error) {
		b, err := p.storeFile("k")(t.Context(), File{ContentType: "text/plain", Content: strings.NewReader(content)})
		if err != nil {
			return 0, err
		}
		return b.Size, nil
	}
	if n, err := put("0123456789"); err != nil || n != 10 || store["k"] != "0123456789" {
		t.Errorf("a file of the limit: %d bytes, %v, stored %q", n, err, store["k"])
	}
	_, err = put("0123456789a")
	if f := failureOf(err, nil); err == nil || f.Code != job.CodeResultTooLarge || f.Retryable ||
		store["k"] != "0123456789" {
		t.Errorf("a byte above it: %v, stored %q", err, store["k"])
	}
	if b, err := p.fetchPayload(t.Context(), "k"); err != nil || string(b) != "0123456789" {
		t.Errorf("payload %q, %v", b, err)
	}
	_, err = p.fetchPayload(t.Context(), "gone")
	if f := failureOf(err, nil); err == nil || f.Code != job.CodePayloadMissing || f.Retryable {
		t.Errorf("a payload that is not there: %v", err)
	}
}
