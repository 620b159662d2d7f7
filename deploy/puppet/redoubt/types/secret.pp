# @summary What no catalog's reader may see: a Sensitive text, or a function that the
#   agent calls (Deferred), wrapped or not.
type Redoubt::Secret = Variant[Sensitive[Variant[String[1], Deferred]], Deferred]
