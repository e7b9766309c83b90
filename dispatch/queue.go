package dispatch

// queue is a first-in first-out ring that grows as needed and keeps its
// memory: at its peak it holds no more than the dispatcher's window.
type queue struct {
	ring  []item
	first int
	count int
}

func (q *queue) len() int { return q.count }

func (q *queue) push(it item) {
	if q.count == len(q.ring) {
		bigger := make([]item, max(16, 2*len(q.ring)))
		for i := range q.count {
			bigger[i] = q.ring[(q.first+i)%len(q.ring)]
		}
		q.ring, q.first = bigger, 0
	}
	q.ring[(q.first+q.count)%len(q.ring)] = it
	q.count++
}

func (q *queue) pop() (item, bool) {
	if q.count == 0 {
		return item{}, false
	}
	it := q.ring[q.first]
	q.ring[q.first] = item{}
	q.first = (q.first + 1) % len(q.ring)
	q.count--
	return it, true
}
