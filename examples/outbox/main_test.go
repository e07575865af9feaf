package main

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"log"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/schemas/code"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // the failures in this test are intended
	goleak.VerifyTestMain(m)
}

// shop is the program with a database and a server of its own.
type shop struct {
	t     *testing.T
	srv   *ackwiretest.Server
	db    *sql.DB
	file  string
	ended chan error
}

func newShop(t *testing.T) *shop {
	file := filepath.Join(t.TempDir(), "shop.db")
	db, err := open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &shop{t: t, srv: ackwiretest.New(t), db: db, file: file, ended: make(chan error, 2)}
}

func (s *shop) order(item string) {
	s.t.Helper()
	if err := run(s.t.Context(), s.file, item, s.srv.URL(), s.srv.Option()); err != nil {
		s.t.Fatal(err)
	}
}

// start starts the program and returns a function that stops it.
func (s *shop) start() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	go func() { s.ended <- run(ctx, s.file, "", s.srv.URL(), s.srv.Option()) }()
	return func() {
		s.t.Helper()
		cancel()
		if err := <-s.ended; err != nil {
			s.t.Error(err)
		}
	}
}

// want checks how many rows are submitted, refused and waiting, and how many jobs there are.
func (s *shop) want(when string, submitted, refused, waiting, jobs int) {
	s.t.Helper()
	var got [3]int
	err := s.db.QueryRowContext(s.t.Context(), `SELECT count(DISTINCT job_id), count(refused),
		count(*) FILTER (WHERE job_id IS NULL AND refused IS NULL) FROM outbox`).Scan(&got[0], &got[1], &got[2])
	if err != nil || got != [3]int{submitted, refused, waiting} {
		s.t.Errorf("%s: %v rows are submitted, refused and waiting, %v", when, got, err)
	}
	stats, err := s.srv.NewHTTP(s.t).Stats(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	made := 0
	for _, c := range stats.Counts {
		made += int(c.Jobs)
	}
	if made != jobs {
		s.t.Errorf("%s: there are %d jobs", when, made)
	}
}

func TestOrdersBecomeJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		s.order("tea")
		s.want("before the program runs", 0, 0, 1, 0)
		stop := s.start()
		time.Sleep(pollPause)
		s.order("coffee")
		time.Sleep(2 * pollPause)
		s.want("two orders", 2, 0, 0, 2)
		var in struct {
			Order int
			Item  string
		}
		if err := s.srv.Next(t, "demo.echo").Decode(&in); err != nil || in.Order != 1 || in.Item != "tea" {
			t.Errorf("the first job is %+v, %v", in, err)
		}
		s.srv.Down()
		s.order("milk")
		time.Sleep(time.Minute)
		s.srv.Up()
		time.Sleep(2 * pollPause)
		s.want("the server was away for a minute", 3, 0, 0, 3)
		stop()
	})
}

// The program ends after its job is durable and before the row says so; then two instances run.
func TestTheAckIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		s.order("tea")
		s.srv.LoseAcks(1)
		stop := s.start()
		synctest.Wait()
		s.want("no ack", 0, 0, 1, 1)
		stop()
		stop1, stop2 := s.start(), s.start()
		time.Sleep(2 * pollPause)
		s.want("submitted again", 1, 0, 0, 1)
		stop1()
		stop2()
	})
}

func TestWhatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		s.order("tea")
		s.order("coffee")
		s.srv.Refuse(1, code.ValidationFailed) // the first row, permanently
		stop := s.start()
		time.Sleep(2 * pollPause)
		s.want("a payload that does not fit", 1, 1, 0, 1)
		stop()

		s.order("milk")
		s.srv.Refuse(2, code.LimitExceeded) // nothing is wrong with the row
		stop = s.start()
		time.Sleep(time.Minute)
		s.want("a limit, for a while", 2, 1, 0, 2)
		stop()
	})
}

// An order that is not committed leaves no job behind.
func TestNoOrderNoJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := order(ctx, s.db, "tea"); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		stop := s.start()
		time.Sleep(2 * pollPause)
		s.want("nothing was ordered", 0, 0, 0, 0)
		stop()
	})
}
