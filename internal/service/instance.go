package service

import (
	"crypto/rand"
	"os"
	"strings"
	"time"

	"github.com/ackwire/ackwire/internal/service/version"
)

// Instance tells operators which run of a service they look at, and of which build it is.
type Instance struct {
	Name      string // the host's name and a random part, for several may run on one host
	Version   string
	Revision  string // of the source
	StartedAt time.Time
}

// NewInstance returns the instance that starts now.
func NewInstance() Instance {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown"
	}
	host = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '-'
		}
		return r
	}, host)
	const hostBytes, randomChars = 100, 6
	v := version.Get()
	return Instance{
		Name:    host[:min(len(host), hostBytes)] + "-" + strings.ToLower(rand.Text()[:randomChars]),
		Version: v.Version, Revision: v.Revision, StartedAt: time.Now().UTC().Truncate(time.Millisecond),
	}
}
