namespace KeyVa.Bench.Targets;

/// <summary>
/// One thread's way to a target. Implemented by structs only: the loops are generic over them, so the JIT compiles each
/// loop for each target, calls are direct and often inlined, and no dispatch of the harness is measured.
/// </summary>
internal interface ISession : IDisposable
{
    /// <summary>Writes a key; throws if the target refuses.</summary>
    void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value);

    /// <summary>Reads a key and touches its value (length and last byte) without a copy. Whether it was there.</summary>
    bool Get(ReadOnlySpan<byte> key, ref ulong touched);

    /// <summary>Reads a key and copies its value, which fits. Whether it was there.</summary>
    bool Read(ReadOnlySpan<byte> key, Span<byte> value);

    /// <summary>Removes a key.</summary>
    void Delete(ReadOnlySpan<byte> key);

    /// <summary>
    /// Opens an iterator at a key, reads up to <paramref name="limit"/> records and touches key and value of each. Forward:
    /// starts at the key. Reverse: starts at the last key before it. How many records there were.
    /// </summary>
    long Scan(ReadOnlyMemory<byte> from, bool reverse, long limit, ref ulong touched);
}
