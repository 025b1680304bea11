package offloader

import (
	"errors"
	"fmt"
	"slices"
)

// DefaultClass is the name of the class for callers whose Claim names none of the pool's
// classes. In a pool without such a class, the first class is the default.
const DefaultClass = "normal"

// MaxWeight is the largest weight of a class.
const MaxWeight = 1000

// Claim is the key, the class and the cost of a caller, by which a pool shares its permits.
// The zero value means no key, the default class and a cost of one.
type Claim struct {
	// Key groups callers that count as one, such as those of one client or tenant. Pools
	// without Settings.Fair, PerKey and QueuePerKey ignore it. Empty: no key; callers
	// without a key share one line, without a bound.
	Key string
	// Class is the name of one of Settings.Classes. Any other name is the default class:
	// DefaultClass, or the first one.
	Class string
	// Cost is the number of permits that the run takes. Below one: one. Above the
	// concurrency of the pool: all permits.
	Cost int
}

// Class is a class of callers.
type Class struct {
	// Name of the class in claims.
	Name string
	// Weight is the part of the permits that the class gets while callers of all classes
	// wait, in relation to the weights of the others. It is positive.
	Weight int
}

// ClassCount has the numbers of one class: its waiters, the permits that its runs hold, and
// how many of its callers were admitted and rejected since the pool has the class. Rejected
// callers without a ticket count only if they have waited.
type ClassCount struct {
	Class
	Waiting, Running   int
	Admitted, Rejected uint64
}

func validateClasses(classes []Class) []error {
	var errs []error
	for i, c := range classes {
		switch {
		case c.Name == "":
			errs = append(errs, errors.New("classes must have names"))
		case slices.ContainsFunc(classes[:i], func(other Class) bool { return other.Name == c.Name }):
			errs = append(errs, fmt.Errorf("class '%s' is listed twice", c.Name))
		}
		if c.Weight < 1 || c.Weight > MaxWeight {
			errs = append(errs, fmt.Errorf("the weight of class '%s' must be from 1 to %d, not %d", c.Name, MaxWeight, c.Weight))
		}
	}
	return errs
}
