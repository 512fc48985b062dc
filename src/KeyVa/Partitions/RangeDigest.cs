namespace KeyVa.Partitions;

/// <summary>
/// What a set of records is, in 16 bytes: how many, and the sum of a hash of each key and version. The sum does not depend on
/// the order in which they were met, so that a scan in reverse, or on an engine without key order, comes to the same.
/// </summary>
/// <remarks>
/// Two different sets have the same digest by chance once in 2^64. The hash is not meant to withstand somebody who
/// chooses keys: who can write such keys can as well write the others.
/// </remarks>
internal struct RangeDigest : IEquatable<RangeDigest>
{
    public long Count;
    public ulong Sum;

    public void Add(ReadOnlySpan<byte> key, long version)
    {
        Count++;
        Sum += XxHash64.Compute(key, (ulong)version);
    }

    public readonly bool Equals(RangeDigest other) => Count == other.Count && Sum == other.Sum;

    public override readonly bool Equals(object? obj) => obj is RangeDigest other && Equals(other);

    public override readonly int GetHashCode() => HashCode.Combine(Count, Sum);
}
