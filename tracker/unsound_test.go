package tracker

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// complete has a job completed with a result that takes several blocks of the store, and returns a part of it that no
// compression changes.
func (w *world) complete(id string) (version int64, mark string) {
	w.t.Helper()
	random := make([]byte, 4<<10)
	_, _ = rand.Read(random)
	text := hex.EncodeToString(random)
	pos, _ := w.submit(id)
	w.append(&event.Event{Type: event.Claimed, JobID: id, Dispatch: 1, Run: "r", Request: &pos})
	version = w.append(&event.Event{Type: event.Completed, JobID: id, Dispatch: 1, Run: "r",
		Result: fmt.Appendf(nil, "%q", text)})
	return version, text[len(text)/2:][:8]
}

// rot changes a byte of the mark in the one table of the store that has it.
func rot(t *testing.T, fs vfs.FS, mark string) {
	t.Helper()
	names, err := fs.List("data/store")
	if err != nil {
		t.Fatal(err)
	}
	harmed := 0
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		name = fs.PathJoin("data/store", name)
		f, err := fs.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		at := bytes.Index(content, []byte(mark))
		if at < 0 {
			continue
		}
		harmed++
		content[at] ^= 1
		g, err := fs.Create(name, vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = g.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = g.Close()
	}
	if harmed != 1 {
		t.Fatalf("%d tables have the mark", harmed)
	}
}

// rotJobs is the number of jobs of the test.
const rotJobs = 60

// between returns the ID of a job whose row has rows of others of its partition before and behind it, so many that its
// blocks are read only for it.
func between() string {
	var ids [testPartitions][]string
	for n := range rotJobs {
		id := fmt.Sprintf("job-%02d", n)
		p := kafka.Partition(id, testPartitions)
		if ids[p] = append(ids[p], id); len(ids[p]) == 12 {
			return ids[p][8]
		}
	}
	return ""
}

// A store that was closed in order is used before all of it is read. A row that has rotted meanwhile is found by
// whatever reads it first. Nothing wrong is answered; the store is set aside, and all is as it was, from view or from
// status. The tracker's process goes on.
func TestRotThatIsFoundWhileTheTrackerRuns(t *testing.T) {
	victim := between()
	for name, find := range map[string]func(*testing.T, *instance){
		"by the check": func(*testing.T, *instance) { time.Sleep(verified) },
		"by a question": func(t *testing.T, i *instance) {
			_, err := i.get(&trackerpb.GetRequest{JobId: victim})
			wantCode(t, "the row has rotted", err, connect.CodeUnavailable)
		},
		"by a list": func(t *testing.T, i *instance) {
			_, err := i.api.List(t.Context(), connect.NewRequest(&trackerpb.ListRequest{
				Tenant: tenant, Limit: 100, Partitions: []int32{0, 1, 2, 3},
			}))
			wantCode(t, "the row has rotted", err, connect.CodeUnavailable)
		},
		"by the fold": func(_ *testing.T, i *instance) {
			i.w.append(&event.Event{Type: event.RetryRequested, JobID: victim})
		},
	} {
		for _, view := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, view %v", name, view), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.view = view
					w.makeRequests()
					fs := vfs.NewMem()
					i := w.start(8090, fs)
					var victimMark string
					docs := map[string]string{}
					for n := range rotJobs {
						id := fmt.Sprintf("job-%02d", n)
						version, mark := w.complete(id)
						doc, _ := i.doc(id, version)
						docs[id] = string(doc.Document)
						if id == victim {
							victimMark = mark
						}
					}
					i.stop()
					rot(t, fs, victimMark)
					i = w.start(8090, fs)
					defer i.stop()
					if n := i.restored(fromLocal, used); n != testPartitions {
						t.Fatalf("%v partitions were restored from the store: it was not used unread", n)
					}
					find(t, i)
					for i.restored(fromLocal, refusedRotten) < testPartitions {
						time.Sleep(10 * time.Millisecond)
					}
					i.wantReady()
					for id, want := range docs {
						doc, d := i.doc(id, 0)
						if id == victim && name == "by the fold" {
							if d.Attempt != 2 || d.State == job.Completed {
								t.Errorf("what was folded is lost: %+v", d)
							}
							continue
						}
						if string(doc.Document) != want {
							t.Errorf("%s is\n%s\nwant\n%s", id, doc.Document, want)
						}
					}
					from := map[bool]source{false: fromStatus, true: fromView}[view]
					if n := i.restored(from, used); n != testPartitions {
						t.Errorf("%v partitions were restored from %s", n, from)
					}
					time.Sleep(verified)
					i.wantReady()
				})
			})
		}
	}
}

// verified is longer than the check of a small store takes to begin and to end.
const verified = time.Minute
