package kafka

import (
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/service"
)

func TestClientsOfAProcessShareTheirMetrics(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		env := service.Env{Log: slog.New(slog.DiscardHandler), Dial: w.client.Dial, Metrics: prometheus.NewRegistry()}
		client := func() *kgo.Client {
			cl, err := Config{Brokers: []string{"localhost:9092"}}.NewClient(env, "counted", kgo.ConsumeTopics(topic))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cl.Close)
			return cl
		}
		for _, cl := range []*kgo.Client{client(), client()} {
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		for seen := 0; seen < 2; {
			seen += client().PollFetches(t.Context()).NumRecords()
		}
		synctest.Wait() // the library counts a batch after it has told its producer
		m := newTraffic(env.Metrics)
		if got := testutil.ToFloat64(m.records.WithLabelValues("produced")); got != 2 {
			t.Errorf("%v records were produced, want 2", got)
		}
		if got := testutil.ToFloat64(m.records.WithLabelValues("fetched")); got < 2 {
			t.Errorf("%v records were fetched, want 2 at least", got)
		}
		if testutil.ToFloat64(m.connectsOK) == 0 || testutil.ToFloat64(m.bytesWritten) == 0 ||
			testutil.ToFloat64(m.bytesRead) == 0 {
			t.Error("no connection, or no bytes")
		}
		if problems, err := testutil.GatherAndLint(env.Metrics); err != nil || len(problems) != 0 {
			t.Errorf("promlint: %v, %v", problems, err)
		}
	})
}

// TestClientsThatBeginTogether: the clients of a process are made by several goroutines and share their metrics.
func TestClientsThatBeginTogether(t *testing.T) {
	r := prometheus.NewRegistry()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { newProblems(r).add(reasonTLS, "wrong") })
	}
	all.Wait()
	if n := testutil.ToFloat64(newProblems(r).WithLabelValues(reasonTLS)); n != 8 {
		t.Errorf("%v problems are counted of 8", n)
	}
}
