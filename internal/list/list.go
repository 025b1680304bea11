// Package list has a doubly linked list whose elements are fields of their values, so
// that adding a value allocates nothing.
package list

// List is a list of values. The zero value is empty. It has no lock.
type List[T any] struct {
	front, back *Element[T]
	len         int
}

// Element links one value into at most one list at a time. It must not be copied while
// it is in a list.
type Element[T any] struct {
	prev, next *Element[T]
	// Value is set by the owner of the element.
	Value T
}

// Len returns the number of elements.
func (l *List[T]) Len() int { return l.len }

// Front returns the first element, nil if the list is empty.
func (l *List[T]) Front() *Element[T] { return l.front }

// Back returns the last element, nil if the list is empty.
func (l *List[T]) Back() *Element[T] { return l.back }

// Next returns the element after e, nil for the last one.
func (e *Element[T]) Next() *Element[T] { return e.next }

// Prev returns the element before e, nil for the first one.
func (e *Element[T]) Prev() *Element[T] { return e.prev }

// Push adds e, which must not be in a list, at the back.
func (l *List[T]) Push(e *Element[T]) {
	e.prev, e.next = l.back, nil
	if l.back == nil {
		l.front = e
	} else {
		l.back.next = e
	}
	l.back = e
	l.len++
}

// Remove removes e, which must be in the list.
func (l *List[T]) Remove(e *Element[T]) {
	if e.prev == nil {
		l.front = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.back = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	l.len--
}
