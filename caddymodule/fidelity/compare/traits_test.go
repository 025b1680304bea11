package compare

// trait is something special about a trial. Several may be joined.
type trait uint32

const (
	// Of the request.
	brokenUpload trait = 1 << iota // its body cannot be read to its end
	expects                        // it has an Expect field
	neverSpooled                   // its body must be passed on as it comes
	leftUnread                     // no handler reads its body
	staysInFront                   // its body does not get as far as offload
	triedAgain                     // it is sent again after its body was read

	// Of the upstream, or of the handler in its place.
	badStatus     // it answers with a status that makes net/http panic
	flood         // it sends too many 1xx responses
	diesSilent    // its connection ends before it sends anything
	needsLength   // it takes no upload of unknown length
	changedBehind // a placeholder reads a value that was changed behind offload

	// Of the answer.
	unmeasured   // its length is not declared
	misstated    // it is longer or shorter than declared
	typeless     // it has no type, and begins with a large piece
	flushesFirst // it is flushed before it has a status
)

func (tr *trial) has(t trait) bool { return tr.traits&t != 0 }
