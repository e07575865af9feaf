package bubble

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// With more than one processor this ends the process within a second (golang/go#78156).
func TestManyTimersAtOnce(t *testing.T) {
	for range 20 {
		Test(t, func(*testing.T) {
			var wg sync.WaitGroup
			for range 64 {
				wg.Go(func() {
					for range 50 {
						due := time.NewTimer(0)
						select {
						case <-due.C:
						default:
						}
						done := make(chan struct{})
						time.AfterFunc(time.Millisecond, func() { close(done) })
						<-done
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestProcessorsComeBack(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	t.Run("bubbles", func(t *testing.T) {
		for range 4 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				Test(t, func(t *testing.T) {
					if n := runtime.GOMAXPROCS(0); raceDetector && n != 1 {
						t.Errorf("%d processors in a bubble", n)
					}
					time.Sleep(time.Hour)
				})
			})
		}
	})
	if after := runtime.GOMAXPROCS(0); after != before {
		t.Errorf("%d processors, then %d", before, after)
	}
}
