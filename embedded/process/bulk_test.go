package process

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// bulkTypes has a lane for the jobs of a bulk action, so that their worker can be stopped, and one for live jobs.
const bulkTypes = `
defaults: {lane: default, attempts: 1, lease: 30s, retention: 2h}
types:
  demo.fail: {lane: failing}
  demo.echo: {}
`

// bulkFleet is a broker with a gateway and a tracker in one process, and beside it two gateways that run bulk actions,
// another tracker and workers.
type bulkFleet struct {
	t        *testing.T
	ctx      context.Context
	api      *ackwire.HTTPClient
	url      string
	gateways []*proc
	tracker  *proc
	failing  *proc
	orders   *orderLog
	peak     int // KiB, the most memory of a gateway that runs bulk actions
	again    int // jobs with more than one order, or one beside a user's
	same     int // jobs that a user had ordered at the same moment, which count as done
}

func startBulkFleet(t *testing.T) *bulkFleet {
	t.Helper()
	a := addrs(t, 12)
	types, data := jobTypes(t, bulkTypes), t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 6*testWithin)
	t.Cleanup(cancel)
	f := &bulkFleet{t: t, ctx: ctx, url: "http://" + a[0]}
	start(t, "ackwire", a[1], append(serveArgs(data, a), "--no-processor", "--job-types", types, "--bulk", "off",
		"--tracker-session-timeout", "6s")...)
	f.tracker = start(t, "tracker", a[5], "--kafka", a[3], "--data", t.TempDir(), "--tracker-listen", a[4],
		"--ops-listen", a[5], "--tracker-session-timeout", "6s")
	blobs := "file://" + t.TempDir()
	for i := 6; i < 10; i += 2 {
		f.gateways = append(f.gateways, start(t, "gateway", a[i+1], "--kafka", a[3], "--listen", a[i], "--ops-listen",
			a[i+1], "--anonymous-tenant", "local", "--job-types", types, "--bulk", "on", "--bulk-rate", "20000", "--blobs",
			blobs))
	}
	f.failing = start(t, "processor", a[10], "--kafka", a[3], "--lanes", "failing", "--demo", "--ops", a[10], "--slots",
		"500")
	start(t, "processor", a[11], "--kafka", a[3], "--lanes", "default", "--demo", "--ops", a[11])
	var err error
	if f.api, err = ackwire.NewHTTP("http://" + a[6]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.api.CloseIdleConnections)
	f.orders = readOrders(t, a[3])
	return f
}

// orderLog reads the orders of jobs in the log, as they are written.
type orderLog struct {
	mu     sync.Mutex                // guards all below
	bulk   map[string]map[string]int // bulk action → job → orders of it
	byHand map[string]int            // job → orders of others
}

func readOrders(t *testing.T, broker string) *orderLog {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics("ackwire.status"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	l := &orderLog{bulk: map[string]map[string]int{}, byHand: map[string]int{}}
	var reading sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); reading.Wait(); cl.Close() })
	reading.Go(func() {
		for ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { l.note(r.Value) })
		}
	})
	return l
}

func (l *orderLog) note(value []byte) {
	if !bytes.Contains(value, []byte(event.RetryRequested)) && !bytes.Contains(value, []byte(event.CancelRequested)) {
		return
	}
	e, err := event.Decode(value)
	if err != nil || e.Type != event.RetryRequested && e.Type != event.CancelRequested {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Bulk == "" {
		l.byHand[e.JobID]++
		return
	}
	if l.bulk[e.Bulk] == nil {
		l.bulk[e.Bulk] = map[string]int{}
	}
	l.bulk[e.Bulk][e.JobID]++
}

// of returns how many orders of a bulk action each job has.
func (l *orderLog) of(bulk string) map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.bulk[bulk])
}

// submit submits jobs that fail at once, and returns their IDs, the oldest first.
func (f *bulkFleet) submit(n int) (ids []string) {
	f.t.Helper()
	var mu sync.Mutex
	var submitting sync.WaitGroup
	left := n
	for range 2 {
		submitting.Go(func() {
			for {
				mu.Lock()
				size := min(left, ackwire.MaxBatch)
				left -= size
				mu.Unlock()
				if size == 0 {
					return
				}
				made := f.batch(size)
				mu.Lock()
				ids = append(ids, made...)
				mu.Unlock()
			}
		})
	}
	submitting.Wait()
	slices.Sort(ids) // UUIDs of version 7 begin with their time
	return ids
}

// batch submits jobs, again for as long as it is told to.
func (f *bulkFleet) batch(n int) (ids []string) {
	for len(ids) < n && f.ctx.Err() == nil {
		items := make([]ackwire.BatchItem, n-len(ids))
		for i := range items {
			items[i] = ackwire.BatchItem{Type: "demo.fail", Payload: json.RawMessage(`{"message":"the printer is on fire"}`),
				Options: []ackwire.SubmitOption{ackwire.NoKey(), ackwire.NoWatch()}}
		}
		results, err := f.api.SubmitBatch(f.ctx, items)
		if err != nil {
			f.t.Errorf("batch: %v", err)
			return ids
		}
		for _, r := range results {
			if r.Err == nil {
				ids = append(ids, r.Job.ID)
			} else if r.Outcome() == frame.Unknown {
				f.t.Errorf("batch: %v", r.Err)
				return ids
			}
		}
		if len(ids) < n {
			pause.For(f.ctx, 200*time.Millisecond)
		}
	}
	return ids
}

// counted waits until that many jobs match.
func (f *bulkFleet) counted(o ackwire.BulkOrder, n int) {
	f.t.Helper()
	waiting, cancel := context.WithTimeout(f.ctx, testWithin)
	defer cancel()
	last := int64(-1)
	for {
		p, err := f.api.PreviewBulk(waiting, o)
		if err == nil {
			last = p.Count
		}
		if last == int64(n) {
			return
		}
		if !pause.For(waiting, time.Second) {
			f.t.Fatalf("%d jobs match, %v, want %d", last, err, n)
		}
	}
}

// at waits until a bulk action has come to a place, or has ended.
func (f *bulkFleet) at(bulk string, place int) {
	f.t.Helper()
	within(f.t, 2*testWithin, fmt.Sprintf("it has come to %d", place), func() bool {
		st, err := f.api.Job(bulk).Get(f.ctx)
		if err == nil && st.State.Terminal() {
			f.t.Fatalf("it is %s before %d", st.State, place)
		}
		return err == nil && st.Progress != nil && st.Progress.Current >= int64(place)
	})
}

// killRunner kills the gateway that runs a bulk action, and starts it anew.
func (f *bulkFleet) killRunner() {
	f.t.Helper()
	running := -1
	within(f.t, startWithin, "a gateway runs it", func() bool {
		running = slices.IndexFunc(f.gateways, func(g *proc) bool {
			return strings.Contains(metrics(f.t, g), "\nackwire_gateway_bulk_running 1\n")
		})
		return running >= 0
	})
	f.measure()
	g := f.gateways[running]
	g.kill()
	g.start()
	g.waitReady()
}

// measure notes how much memory the gateways have used.
func (f *bulkFleet) measure() {
	f.t.Helper()
	for _, g := range f.gateways {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
		if err != nil {
			return // not on Linux
		}
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				kib, _ := strconv.Atoi(strings.Fields(rest)[0])
				f.peak = max(f.peak, kib)
			}
		}
	}
}

// byHand orders jobs one by one, as users do, and returns those that it was first to order.
func (f *bulkFleet) byHand(ids []string, order func(*ackwire.Job) error) map[string]bool {
	first := map[string]bool{}
	var mu sync.Mutex
	var working sync.WaitGroup
	next := make(chan string)
	for range 8 {
		working.Go(func() {
			for id := range next {
				if err := order(f.api.Job(id)); err == nil {
					mu.Lock()
					first[id] = true
					mu.Unlock()
				}
			}
		})
	}
	for _, id := range ids {
		next <- id
	}
	close(next)
	working.Wait()
	return first
}

// ended waits for the end of a bulk action.
func (f *bulkFleet) ended(bulk string) (r ackwire.BulkResult) {
	f.t.Helper()
	within(f.t, 2*testWithin, "it has ended", func() bool {
		st, err := f.api.Job(bulk).Get(f.ctx)
		if err != nil || !st.State.Terminal() {
			return false
		}
		if r, err = ackwire.BulkResultOf(st); err != nil {
			f.t.Fatalf("%v: %s", err, st.Raw)
		}
		return true
	})
	f.measure()
	return r
}

// named returns the jobs that a bulk action names as skipped, of which the result has only the first.
func (f *bulkFleet) named(bulk string) map[string]frame.BulkReason {
	f.t.Helper()
	all := map[string]frame.BulkReason{}
	for c, err := range f.api.Job(bulk).Stream(f.ctx, frame.BulkStream) {
		if err != nil {
			f.t.Fatal(err)
		}
		if c.Reset {
			clear(all)
		}
		for _, item := range c.Items {
			var s frame.BulkSkipped
			if err := json.Unmarshal(item, &s); err != nil {
				f.t.Fatal(err)
			}
			all[s.JobID] = s.Reason
		}
	}
	return all
}

// judge compares what a bulk action says with what is in the log. byHand are the jobs that were ordered by users.
func (f *bulkFleet) judge(bulk string, ids []string, byHand map[string]bool) {
	f.t.Helper()
	r := f.ended(bulk)
	named := f.named(bulk)
	// The last order is in the log, since the bulk action has ended; the reader may be behind.
	var orders map[string]int
	within(f.t, startWithin, "all orders are read", func() bool {
		orders = f.orders.of(bulk)
		return int64(len(orders)) >= r.Done
	})
	var wrong []string
	for _, id := range ids {
		reason, skipped := named[id]
		touched := orders[id]
		// Orders beside the one that counted are refused by the fold, and touch nothing.
		if touched > 1 || touched == 1 && byHand[id] {
			f.again++
			touched = f.applied(bulk, id)
		}
		switch {
		case touched == 1 && !skipped, touched == 0 && byHand[id] && reason == frame.BulkChanged:
		case touched == 0 && byHand[id] && orders[id] > 0 && !skipped: // both came at the same moment
			f.same++
		default:
			wrong = append(wrong, fmt.Sprintf("%s: %d orders, %d of them counted, named %q, by hand %v", id, orders[id], touched,
				reason, byHand[id]))
		}
	}
	if len(wrong) > 0 {
		f.t.Errorf("%d jobs were not touched once, such as\n%s", len(wrong), strings.Join(wrong[:min(10, len(wrong))], "\n"))
	}
	if r.Matched != int64(len(ids)) || r.Done+r.Skipped[frame.BulkChanged] != r.Matched ||
		r.Skipped[frame.BulkChanged] != int64(len(named)) {
		f.t.Errorf("of %d jobs, %d by hand: matched %d, done %d, skipped %v, named %d", len(ids), len(byHand), r.Matched,
			r.Done, r.Skipped, len(named))
	}
	if want := min(len(named), frame.MaxBulkSkipped); len(r.Jobs) != want {
		f.t.Errorf("the result names %d skipped jobs, not %d", len(r.Jobs), want)
	}
	f.t.Logf("%d done, %d skipped and named", r.Done, len(named))
}

// applied returns how many orders of a bulk action have changed a job.
func (f *bulkFleet) applied(bulk, id string) (n int) {
	f.t.Helper()
	h, err := f.api.Job(id).History(f.ctx, ackwire.HistoryOptions{Limit: frame.MaxHistoryLimit})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range h.Events {
		if e.Bulk == bulk && (e.Applied == nil || *e.Applied) {
			n++
		}
	}
	return n
}

// live submits a job every 50 ms and waits for its end, and keeps how long acks and ends take.
type live struct {
	stop    context.CancelFunc
	working sync.WaitGroup
	mu      sync.Mutex // guards all below
	acks    []time.Duration
	ends    []time.Duration
}

func (f *bulkFleet) live() *live {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.ctx)
	c, err := ackwire.Dial(ctx, f.url)
	if err != nil {
		f.t.Fatal(err)
	}
	l := &live{stop: cancel}
	f.t.Cleanup(func() { cancel(); l.working.Wait(); _ = c.Close() })
	l.working.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			l.working.Go(func() { l.one(ctx, c) })
			<-tick.C
		}
	})
	return l
}

func (l *live) one(ctx context.Context, c *ackwire.Client) {
	began := time.Now()
	j, err := c.Submit(ctx, "demo.echo", 1)
	ack := time.Since(began)
	if err != nil {
		return
	}
	if st, err := j.Wait(ctx); err != nil || st.State != job.Completed {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acks, l.ends = append(l.acks, ack), append(l.ends, time.Since(began))
}

// quantiles returns p50 and p99 of acks and ends.
func (l *live) quantiles() (all [4]time.Duration) {
	l.stop()
	l.working.Wait()
	for i, of := range [][]time.Duration{l.acks, l.ends} {
		if len(of) == 0 {
			return all
		}
		slices.SortFunc(of, cmp.Compare)
		all[2*i], all[2*i+1] = of[len(of)/2], of[len(of)*99/100]
	}
	return all
}

// TestABulkActionOfAllThatMatch retries all jobs that have failed, with processes of their own: 5,000, or 100,000 with
// ACKWIRE_LONG. The gateway that runs the bulk action is killed (SIGKILL) twice, and a tracker once, while users retry
// some of the jobs by hand. Then all of them, which no worker takes, are cancelled in the same way, beside live jobs.
// In the log each job that matched has one order, of the bulk action or of a user, and those of users are named.
func TestABulkActionOfAllThatMatch(t *testing.T) {
	all := 5000
	if os.Getenv("ACKWIRE_LONG") != "" {
		all = 100_000
	}
	f := startBulkFleet(t)
	began := time.Now()
	ids := f.submit(all)
	failed := ackwire.BulkOrder{Action: ackwire.BulkRetry, Filter: ackwire.ListOptions{States: []job.State{job.Failed}}}
	f.counted(failed, all)
	t.Logf("%d jobs have failed after %s", all, time.Since(began).Round(time.Second))
	f.failing.kill() // so that the retried jobs stay as they are
	quiet := f.live()
	pause.For(f.ctx, 4*time.Second)
	before := quiet.quantiles()

	began = time.Now()
	p, err := f.api.PreviewBulk(f.ctx, failed)
	if err != nil || p.Count != int64(all) {
		t.Fatalf("%d match, %v", p.Count, err)
	}
	t.Logf("the preview took %s", time.Since(began).Round(time.Millisecond))
	began = time.Now()
	retry, err := f.api.Bulk(f.ctx, failed, p.Count)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the order took %s", time.Since(began).Round(time.Millisecond))
	// The newest come first, so these are among the last. Of 100,000 they are so many that the bulk action's report does
	// not fit into progress.
	var some []string
	for i := 0; i < all/3 && len(some) < 1500; i += 1 + i%2 + all/80_000 {
		some = append(some, ids[i])
	}
	skipped := f.byHand(some, func(j *ackwire.Job) error { _, err := j.Retry(f.ctx); return err })
	f.at(retry.ID, all/5)
	f.killRunner()
	f.at(retry.ID, all/2)
	f.tracker.kill()
	f.at(retry.ID, all/2+all/10)
	f.tracker.start()
	f.at(retry.ID, all*3/4)
	f.killRunner()
	f.judge(retry.ID, ids, skipped)
	t.Logf("retried after %s, %d jobs by hand, with two kills of gateways and one of a tracker",
		time.Since(began).Round(time.Second), len(skipped))

	waiting := ackwire.BulkOrder{Action: ackwire.BulkCancel, Filter: ackwire.ListOptions{Types: []string{"demo.fail"}}}
	f.counted(waiting, all)
	busy := f.live()
	began = time.Now()
	cancel, err := f.api.Bulk(f.ctx, waiting, int64(all))
	if err != nil {
		t.Fatal(err)
	}
	skipped = f.byHand(some[:min(len(some), 200)], func(j *ackwire.Job) error { _, err := j.Cancel(f.ctx); return err })
	f.ended(cancel.ID)
	took, during := time.Since(began), busy.quantiles()
	f.judge(cancel.ID, ids, skipped)
	t.Logf("cancelled in %s: %.0f jobs/s; the most memory of a gateway: %d MiB", took.Round(100*time.Millisecond),
		float64(all)/took.Seconds(), f.peak>>10)
	t.Logf("jobs with two orders: %d, of which %d were a user's", f.again, f.same)
	for i, what := range []string{"ack p50", "ack p99", "end p50", "end p99"} {
		t.Logf("live jobs, %s: %s before, %s during: %.2f times", what, before[i].Round(100*time.Microsecond),
			during[i].Round(100*time.Microsecond), float64(during[i])/float64(max(before[i], 1)))
	}
}
