package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/kafkatest"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

const exampleDir = "../../processor/examples/python"

// python installs the example's requirements into a cache and returns the environment to
// run it with. Without Python, or a package index, the test is skipped, unless
// ACKWIRE_REQUIRE_PYTHON demands it.
func python(t *testing.T) (env []string) {
	t.Helper()
	skip := t.Skipf
	if os.Getenv("ACKWIRE_REQUIRE_PYTHON") != "" {
		skip = t.Fatalf
	}
	if _, err := exec.LookPath("python3"); err != nil {
		skip("no python3: the Python worker was not run")
	}
	requirements, err := os.ReadFile(filepath.Join(exampleDir, "requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "ackwire-python", strings.NewReplacer("=", "-", "\n", "").Replace(string(requirements)))
	if _, err := os.Stat(filepath.Join(dir, "kafka")); errors.Is(err, fs.ErrNotExist) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, "python3", "-m", "pip", "install", "--quiet", "--target", dir,
			"-r", filepath.Join(exampleDir, "requirements.txt")).CombinedOutput()
		if err != nil {
			_ = os.RemoveAll(dir)
			skip("pip cannot install the Python worker's requirements: %v: %.300s", err, out)
		}
	}
	return append(os.Environ(), "PYTHONPATH="+dir, "PYTHONUNBUFFERED=1")
}

func startPython(t *testing.T, env []string, broker, name string) *proc {
	t.Helper()
	p := &proc{t: t, name: name, log: &tail{}}
	p.cmd = exec.Command("python3", filepath.Join(exampleDir, "worker.py"))
	p.cmd.Env = append(env, "KAFKA="+broker, "WORKER="+name)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s printed at last:\n%s", name, p.log)
		}
	})
	within(t, startWithin, name+" takes jobs", func() bool { return strings.Contains(p.log.String(), "takes jobs") })
	return p
}

// TestAWorkerInPython: the contract is open to any Kafka client. Nothing of ours but the
// broker, the tracker and the gateway takes part.
func TestAWorkerInPython(t *testing.T) {
	env := python(t)
	a := addrs(t, 4)
	types := jobTypes(t, "types:\n  text.count: {lane: python, lease: 5s, attempts: 3, "+
		"backoff: {initial: 0.1s, factor: 2, cap: 1s}, grace: 5s, retention: 1h}\n")
	start(t, "ackwire", a[1], append(serveArgs(t.TempDir(), a), "--no-processor", "--job-types", types)...)
	ctx, c := dial(t, "http://"+a[0])
	submit := func(payload string) *ackwire.Job {
		t.Helper()
		j, err := c.Submit(ctx, "text.count", json.RawMessage(payload))
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	ends := func(what string, j *ackwire.Job, state job.State, attempt int) ackwire.Status {
		t.Helper()
		s, err := j.Wait(ctx)
		if err != nil || s.State != state || s.Attempt != attempt {
			t.Errorf("%s: %s in attempt %d, %+v, %v", what, s.State, s.Attempt, s.Error, err)
		}
		return s
	}
	first := startPython(t, env, a[3], "snake-1")

	progress := 0
	var last ackwire.Status
	for s, err := range submit(`{"text":"one two three four","seconds":2}`).Watch(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if s.Progress != nil && s.State == job.Processing {
			progress++
		}
		last = s
	}
	if last.State != job.Completed || string(last.Result) != `{"words":4}` || progress < 2 {
		t.Errorf("%s %s after %d times progress", last.State, last.Result, progress)
	}
	want := job.StreamTotal{Kind: job.StreamText, Total: int64(len("one two three four "))}
	if got := last.Streams["words"]; got != want {
		t.Errorf("the stream of words is %+v, want %+v", got, want)
	}
	ends("retryable failures", submit(`{"text":"x","failures":2}`), job.Completed, 3)
	if s := ends("a permanent one", submit(`{}`), job.Failed, 1); s.Error == nil || s.Error.Code != "no_text" {
		t.Errorf("error %+v", s.Error)
	}

	j := submit(`{"text":"a b c d e f g h","seconds":60}`)
	within(t, startWithin, "the job runs", func() bool {
		s, err := c.Job(j.ID).Get(ctx)
		return err == nil && s.State == job.Processing
	})
	if _, err := c.Job(j.ID).Cancel(ctx); err != nil {
		t.Error(err)
	}
	ends("cancelled while it ran", j, job.Cancelled, 1)

	// Garbage does not stop it.
	raw, err := kgo.NewClient(kgo.SeedBrokers(a[3]), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	garbage := badRequests(t)
	partitions, err := kafka.PartitionCount(ctx, raw, "ackwire.requests.python")
	if err != nil {
		t.Fatal(err)
	}
	for i, rec := range garbage {
		rec.Partition = int32(i) % partitions
	}
	before := endOf(t, raw, "ackwire.dead")
	if err := raw.ProduceSync(ctx, garbage...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	ends("behind garbage", submit(`{"text":"x"}`), job.Completed, 1)
	within(t, testWithin, "all of it is among the dead letters", func() bool {
		return endOf(t, raw, "ackwire.dead")-before == int64(len(garbage))
	})

	inBlobStore(ctx, t, raw, c)

	j = submit(`{"text":"a b c d","seconds":8}`)
	within(t, startWithin, "the job runs", func() bool {
		s, err := c.Job(j.ID).Get(ctx)
		return err == nil && s.State == job.Processing
	})
	first.kill()
	second := startPython(t, env, a[3], "snake-2")
	ends("its worker was killed", j, job.Completed, 2)

	j = submit(`{"text":"a b c d","seconds":8}`)
	within(t, startWithin, "the job runs", func() bool {
		s, err := c.Job(j.ID).Get(ctx)
		return err == nil && s.State == job.Processing
	})
	_ = second.cmd.Process.Signal(syscall.SIGTERM)
	if err := second.cmd.Wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	startPython(t, env, a[3], "snake-3")
	s := ends("its worker was stopped politely", j, job.Completed, 1)
	if len(s.Attempts) != 2 || s.Attempts[0].Outcome != job.OutcomeReleased {
		t.Errorf("attempts %+v", s.Attempts)
	}
}

// inBlobStore asks for a job whose payload is in the blob store, which the worker cannot read: it hands the
// job back with a code that says so. Its claim has all that the request has.
func inBlobStore(ctx context.Context, t *testing.T, raw *kgo.Client, c *ackwire.Client) {
	t.Helper()
	const id = "0190a5b0-0000-7000-8000-000000000001"
	policy := job.Policy{Attempts: 1, Backoff: job.Backoff{
		Initial: job.Seconds(time.Second), Factor: 2, Cap: job.Seconds(time.Minute),
	},
		Lease: job.Seconds(time.Minute), Grace: job.Seconds(time.Second), Retention: job.Seconds(time.Hour)}
	r := topic.Request{JobID: id, Job: "text.count", Lane: "python", Dispatch: 1, Attempt: 1, Tenant: "local",
		PayloadHash: "sha256:00", Policy: policy,
		Time: time.Now(), PayloadBlob: "payloads/" + id + "/00", CallbackURL: "https://example.com/hook",
		CallbackEvents: []job.State{job.Processing, job.Completed}}
	headers, err := r.Headers()
	if err != nil {
		t.Fatal(err)
	}
	rec := &kgo.Record{Topic: "ackwire.requests.python", Key: []byte(id)}
	for _, h := range headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
	}
	if err := raw.ProduceSync(ctx, rec).FirstErr(); err != nil {
		t.Fatal(err)
	}
	within(t, testWithin, "it is handed back", func() bool {
		s, err := c.Job(id).Get(ctx)
		return err == nil && s.State == job.Retrying && s.Error != nil && s.Error.Code == "no_blob_store"
	})
	reader, err := kgo.NewClient(kgo.SeedBrokers(raw.OptValue(kgo.SeedBrokers).([]string)...),
		kgo.ConsumeTopics("ackwire.status"),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatal("its claim is not in the log")
		}
		for rec := range fetches.RecordsAll() {
			if string(rec.Key) != id || !bytes.Contains(rec.Value, []byte(`"claimed"`)) {
				continue
			}
			if !bytes.Contains(rec.Value, []byte(`"callbackEvents": ["processing", "completed"]`)) {
				t.Errorf("the claim is %s", rec.Value)
			}
			return
		}
	}
}

// TestTheViewIsATableForAnyClient reads view with a plain client of another language: every
// job is there once, with the very document that Ackwire's own clients are given.
func TestTheViewIsATableForAnyClient(t *testing.T) {
	env := python(t)
	brokers := strings.Join(kafkatest.Start(t, 1).Brokers(), ",")
	f := startFleet(t, brokers, 1)
	ctx, cancel := context.WithTimeout(t.Context(), testWithin)
	defer cancel()
	w := &crowd{t: t}
	w.join(ctx, f.url, 50, func(i int) (string, string) { return "demo.echo", `{"n":1}` })
	w.check(ctx, f.url)
	want := map[string]bool{}
	for _, s := range w.jobs {
		var compact bytes.Buffer
		if err := json.Compact(&compact, s.last.Raw); err != nil {
			t.Fatal(err)
		}
		want[compact.String()] = true
	}
	var printed []byte
	within(t, startWithin, "the table has all jobs", func() bool {
		cmd := exec.CommandContext(ctx, "python3", "../../tracker/examples/python/table.py")
		cmd.Env = append(env, "KAFKA="+brokers)
		var said bytes.Buffer
		cmd.Stderr = &said
		var err error
		if printed, err = cmd.Output(); err != nil {
			t.Fatalf("%v: %s%s", err, printed, &said)
		}
		return bytes.Count(printed, []byte("\n")) == len(want) && bytes.Count(printed, []byte(`"state": "completed"`)) == len(
			want)
	})
	for line := range bytes.Lines(printed) {
		var compact bytes.Buffer
		if err := json.Compact(&compact, line); err != nil {
			t.Fatal(err)
		}
		if !want[compact.String()] {
			t.Errorf("the table has %s", line)
		}
	}
}

// badRequests are records that a lane may hold and no worker can read: each lacks one thing, or has
// it wrong.
func badRequests(t *testing.T) (bad []*kgo.Record) {
	t.Helper()
	policy := job.Policy{Attempts: 1, Lease: job.Seconds(time.Minute), Retention: job.Seconds(time.Hour)}
	r := topic.Request{
		JobID: "bad", Job: "text.count", Lane: "python", Dispatch: 1, Attempt: 1, Tenant: "local",
		PayloadHash: "sha256:00", Policy: policy, Time: time.Now(),
	}
	good, err := r.Headers()
	if err != nil {
		t.Fatal(err)
	}
	add := func(value string, name, content string) {
		rec := &kgo.Record{Topic: "ackwire.requests.python", Key: []byte("bad"), Value: []byte(value)}
		found := false
		for _, h := range good {
			switch {
			case h.Key != name:
				rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
			case content != "":
				rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: name, Value: []byte(content)})
				found = true
			}
		}
		if content != "" && !found {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: name, Value: []byte(content)})
		}
		bad = append(bad, rec)
	}
	for _, name := range []string{topic.HeaderVersion, topic.HeaderID, topic.HeaderType, topic.HeaderDispatch,
		topic.HeaderAttempt, topic.HeaderTenant, topic.HeaderPolicy, topic.HeaderPayloadHash} {
		add("{}", name, "")
		add("{}", name, "\xff\xfe")
	}
	for _, content := range []string{"[]", "null", "7", "{", "{}", `{"attempts":1,"lease":NaN}`,
		`{"attempts":1,"backoff":{},"lease":1}`,
		`{"attempts":0,"backoff":{"initial":0,"factor":0,"cap":0},"lease":1,"grace":0,"retention":1}`,
		`{"attempts":1,"backoff":{"initial":0,"factor":0,"cap":0},"lease":-1,"grace":0,"retention":1}`,
		`{"attempts":1,"backoff":{"initial":0,"factor":0,"cap":0},"lease":1e300,"grace":0,"retention":1}`, strings.Repeat("[",
			100_000)} {
		add("{}", topic.HeaderPolicy, content)
	}
	add("{}", topic.HeaderDispatch, "0")
	add("{}", topic.HeaderAttempt, "x")
	add("{}", topic.HeaderSubject, "\xff")
	add("{}", topic.HeaderLife, "../x")
	add("{}", topic.HeaderTenant, strings.Repeat("x", 300))
	add("", topic.HeaderSubject, "alice")
	add("{", topic.HeaderSubject, "alice")
	add("\xff", topic.HeaderSubject, "alice")
	add(strings.Repeat("[", 100_000), topic.HeaderSubject, "alice")
	add("{}", topic.HeaderPayloadBlob, "payloads/another/1")
	add("{}", topic.HeaderCallbackEvents, "ended")
	return append(bad, &kgo.Record{Topic: "ackwire.requests.python", Value: []byte("garbage")},
		// kafka-python's poll fails at this one.
		&kgo.Record{
			Topic: "ackwire.requests.python", Value: []byte("{}"),
			Headers: []kgo.RecordHeader{{Key: "\xff", Value: []byte("1")}},
		},
		&kgo.Record{Topic: "ackwire.requests.python"},
		&kgo.Record{Topic: "ackwire.requests.python", Key: []byte("\xff"), Headers: bad[0].Headers},
		&kgo.Record{Topic: "ackwire.requests.python", Key: []byte("bad"), Value: []byte(strings.Repeat("x", 999_000))})
}

// endOf is how many records a topic has had.
func endOf(t *testing.T, cl *kgo.Client, name string) (n int64) {
	t.Helper()
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}
