package client

// ChallengeOf is for the example of RFC 7636.
var ChallengeOf = challengeOf
