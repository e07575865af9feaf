//go:build !unix

package measure

import "time"

func processCPU() time.Duration { return 0 }

func maxRSS() int64 { return 0 }

func descriptorLimit() uint64 { return 0 }
