package topic

// DefaultPartitions is the number of partitions of status, of view (which must have as many as status), of each lane's
// requests, and of control.
const DefaultPartitions = 12

// RequestsSpec describes the topic of a lane's requests. Its timestamps are the broker's too, since the tracker
// compares a request's age with the log's clock.
func (n Names) RequestsSpec(lane string, partitions int32) Spec {
	return KindRequests.spec(n.Requests(lane), partitions)
}

// DeferredSpec describes the topic deferred.
func (n Names) DeferredSpec(partitions int32) Spec {
	return KindDeferred.spec(n.Deferred(), partitions)
}

// StatusSpec describes the topic status. It must never be compacted: compaction keeps the last record of a key, which
// may be the late write of a worker that no longer holds the job. The timestamps of its records are the log's clock,
// see package event.
func (n Names) StatusSpec(partitions int32) Spec { return KindStatus.spec(n.Status(), partitions) }

// ViewSpec describes the topic view: the latest document of every job. Only the tracker that owns a partition writes
// it, in transactions, so it may be compacted. Tombstones are kept for a day, so that consumers of the table see
// removals. A segment is closed after an hour, since only closed segments are compacted.
func (n Names) ViewSpec(partitions int32) Spec { return KindView.spec(n.View(), partitions) }

// ControlSpec describes the topic control.
func (n Names) ControlSpec(partitions int32) Spec { return KindControl.spec(n.Control(), partitions) }

// DeadSpec describes the topic dead, which has one partition.
func (n Names) DeadSpec() Spec { return KindDead.spec(n.Dead(), 1) }

// AuditSpec describes the topic audit, which has one partition, so that its records are in one order.
func (n Names) AuditSpec() Spec { return KindAudit.spec(n.Audit(), 1) }

// StreamsSpec describes the topic streams, which has as many partitions as status.
func (n Names) StreamsSpec(partitions int32) Spec { return KindStreams.spec(n.Streams(), partitions) }

// Specs describes all topics of a system with the given lanes. Ackwire's own lanes, of webhooks and of bulk actions,
// are among them in any case.
func (n Names) Specs(lanes []string, partitions int32) []Spec {
	specs := []Spec{n.StatusSpec(partitions), n.ViewSpec(partitions), n.DeferredSpec(partitions),
		n.ControlSpec(partitions), n.DeadSpec(), n.AuditSpec(), n.StreamsSpec(partitions)}
	seen := map[string]bool{}
	for _, lane := range append([]string{WebhookLane, BulkLane}, lanes...) {
		if !seen[lane] {
			specs = append(specs, n.RequestsSpec(lane, partitions))
		}
		seen[lane] = true
	}
	return specs
}
