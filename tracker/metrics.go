package tracker

import (
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
)

// measure registers the metrics whose values are computed when they are read.
func (t *Tracker) measure(m meter.Meter) {
	m.GaugeFunc("partitions",
		"Partitions of the topic status; 0 until Kafka has told. When all are served, the sum of shards_ready over all "+
			"trackers is the same.",
		func() float64 { return float64(t.api.partitionCount()) })
	m.GaugeFunc("checkpoint_age_seconds",
		"Age of the oldest folded event that the local store does not have yet, over all owned partitions; 0 when it has "+
			"all.",
		func() float64 {
			var oldest time.Duration
			for _, s := range t.api.owned() {
				oldest = max(oldest, s.Unwritten())
			}
			return oldest.Seconds()
		})
	m.GaugeFunc("view_age_seconds",
		"For how long transactions of the topic view have failed, in the partition where that is longest; 0 when the "+
			"last one of each partition was committed.",
		func() float64 {
			var oldest time.Duration
			for _, s := range t.api.owned() {
				oldest = max(oldest, s.ViewBehind())
			}
			return oldest.Seconds()
		})
	m.GaugeFunc("activity_entries",
		"Pairs of tenant and lane whose jobs are counted by minute, over the last hour's minutes and all owned partitions; "+
			"at 100000 others are not counted.",
		func() float64 { return float64(t.activity.Used()) })
	m.GaugeFunc("streams_lag_seconds",
		"Age of the oldest record of the topic streams that was not read yet, in the owned partition where that is "+
			"highest; 0 when all were read.",
		func() float64 {
			var oldest time.Duration
			for _, k := range t.api.ownedStreams() {
				oldest = max(oldest, k.Behind())
			}
			return oldest.Seconds()
		})
	m.Register(&diskMetrics{fs: t.cfg.FS, dir: t.cfg.Data,
		free: m.Desc("disk_free_bytes", "Free space on the disk that holds the data folder."),
		size: m.Desc("disk_size_bytes", "Size of the disk that holds the data folder."),
	})
}

// diskMetrics measures the disk's space when metrics are read, so it works also while the store cannot be
// opened because the disk is full. A file system that does not report its space has no metrics.
type diskMetrics struct {
	fs         vfs.FS
	dir        string
	free, size *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (d *diskMetrics) Describe(c chan<- *prometheus.Desc) { c <- d.free; c <- d.size }

// Collect implements prometheus.Collector.
func (d *diskMetrics) Collect(c chan<- prometheus.Metric) {
	usage, err := d.fs.GetDiskUsage(d.dir)
	if err != nil {
		return
	}
	c <- prometheus.MustNewConstMetric(d.free, prometheus.GaugeValue, float64(usage.AvailBytes))
	c <- prometheus.MustNewConstMetric(d.size, prometheus.GaugeValue, float64(usage.TotalBytes))
}
