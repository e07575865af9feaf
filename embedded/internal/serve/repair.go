package serve

import (
	"encoding/base64"
	"errors"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/embedded/broker"
	"github.com/ackwire/ackwire/embedded/broker/audit"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker"
)

// trackerFolder is the tracker's folder in the data folder.
const trackerFolder = "tracker"

func trackerConfig(cfg Settings, ownBroker bool) tracker.Config {
	t := tracker.Config{
		Kafka: cfg.Gateway.Kafka, Topics: cfg.Gateway.Topics,
		TopicPrefix: cfg.Gateway.TopicPrefix, Partitions: cfg.Gateway.Partitions,
		Settings: cfg.Tracker, Internal: cfg.Gateway.Internal,
		Data: filepath.Join(cfg.Broker.Data, trackerFolder), FS: vfs.Default, Blobs: cfg.Gateway.Blobs,
	}
	if ownBroker {
		t.NoView = true // the embedded broker cannot compact
		t.BrokerTimes = true
	}
	return t
}

// folded returns an audit.Cover's Folded: it tells how far the tracker's store has folded the topic status, whose
// records up to there are not needed. It reads the store at its first call only.
func folded(cfg tracker.Config) func(audit.Topic, string, int32) int64 {
	var once sync.Once
	var next map[int32]int64
	return func(t audit.Topic, clusterID string, partition int32) int64 {
		if t.Name != (topic.Names{Prefix: cfg.TopicPrefix}).Status() {
			return 0
		}
		once.Do(func() {
			if id, err := topicID(t.ID); err == nil {
				next, _ = tracker.Folded(cfg, clusterID, id, t.Partitions) // a store that is not sound has nothing
			}
		})
		return next[partition]
	}
}

// topicID decodes an ID as the broker writes it: quoted base64.
func topicID(quoted string) (id [16]byte, err error) {
	text, err := strconv.Unquote(quoted)
	if err != nil {
		return id, err
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err == nil && copy(id[:], b) != len(id) {
		err = errors.New("not an ID")
	}
	return id, err
}

// Repair checks and repairs a data folder that no process uses. It calls say with a line for each thing that it finds.
// Unless acceptLoss is set, the error is broker.ErrLost when records are lost, and nothing is changed.
func Repair(data, prefix string, acceptLoss bool, say func(string)) error {
	unlock, err := broker.Lock(data)
	if err != nil {
		return err
	}
	cfg := DefaultSettings()
	cfg.Broker, cfg.Gateway.TopicPrefix = broker.Config{Data: data}, prefix
	cfg.Gateway.Blobs.URL, err = blobs.Dir(filepath.Join(data, "blobs"))
	if err == nil {
		cfg.Broker.Folded = folded(trackerConfig(cfg, true))
		err = broker.Repair(cfg.Broker, acceptLoss, say)
	}
	return errors.Join(err, unlock())
}
