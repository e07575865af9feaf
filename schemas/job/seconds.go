package job

import (
	"fmt"
	"math"
	"time"
)

// MaxSeconds is the longest duration a wire may carry: a hundred years, in seconds.
const MaxSeconds = 100 * 365 * 24 * 3600

// SecondsOf converts a number of seconds from a wire. It refuses negative numbers,
// NaN, infinities and what exceeds MaxSeconds.
func SecondsOf(f float64) (Seconds, error) {
	if math.IsNaN(f) || f < 0 || f > MaxSeconds {
		return 0, fmt.Errorf("duration of %v seconds is not between 0 and %d", f, int64(MaxSeconds))
	}
	return Seconds(math.Round(f * float64(time.Second))), nil
}
