package oidc

import (
	"container/heap"
	"time"
)

// timetable tells whose fetch is due next, without looking at all the others: of
// ten thousand issuers a few are due at any moment. Keys stand in it while they
// have a user and no fetch is under way. It is guarded by keyStore.mu.
type timetable struct {
	later dueQueue
	ready [classes]dueQueue // what was due when it was last looked at
}

// dueClass says who goes first among those that are due.
type dueClass uint8

const (
	queuesNot dueClass = iota
	lastSucceeded
	lastFailed
	classes
)

// slot is where keys stand in the timetable.
type slot struct {
	queue *dueQueue // nil: nowhere
	index int
	class dueClass
	at    time.Duration
}

// put enters keys, or moves them to another time.
func (t *timetable) put(k *issuerKeys, at time.Duration, class dueClass) {
	t.remove(k)
	k.slot.at, k.slot.class = at, class
	heap.Push(&t.later, k)
}

func (t *timetable) remove(k *issuerKeys) {
	if k.slot.queue != nil {
		heap.Remove(k.slot.queue, k.slot.index)
	}
}

// next returns the keys to fetch next at now, among the classes that may go; nil
// if there are none.
func (t *timetable) next(now time.Duration, may func(dueClass) bool) *issuerKeys {
	for len(t.later) > 0 && t.later[0].slot.at <= now {
		k, _ := heap.Pop(&t.later).(*issuerKeys)
		heap.Push(&t.ready[k.slot.class], k)
	}
	for class := range classes {
		queue := &t.ready[class]
		for len(*queue) > 0 && (*queue)[0].slot.at > now { // the clock was set back
			heap.Push(&t.later, heap.Pop(queue))
		}
		if len(*queue) > 0 && may(class) {
			return (*queue)[0]
		}
	}
	return nil
}

// wait returns how long nothing more gets due.
func (t *timetable) wait(now time.Duration) time.Duration {
	if len(t.later) == 0 {
		return maxNap
	}
	return min(maxNap, t.later[0].slot.at-now)
}

// dueQueue is a heap of keys by their time; of equal times, by their number. It
// implements heap.Interface.
type dueQueue []*issuerKeys

func (q *dueQueue) Len() int { return len(*q) }

func (q *dueQueue) Less(i, j int) bool {
	a, b := (*q)[i], (*q)[j]
	return a.slot.at < b.slot.at || a.slot.at == b.slot.at && a.number < b.number
}

func (q *dueQueue) Swap(i, j int) {
	(*q)[i], (*q)[j] = (*q)[j], (*q)[i]
	(*q)[i].slot.index, (*q)[j].slot.index = i, j
}

// Push implements heap.Interface.
func (q *dueQueue) Push(x any) {
	k, _ := x.(*issuerKeys)
	k.slot.queue, k.slot.index = q, len(*q)
	*q = append(*q, k)
}

// Pop implements heap.Interface.
func (q *dueQueue) Pop() any {
	last := len(*q) - 1
	k := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	k.slot.queue = nil
	return k
}
