namespace KeyVa;

/// <summary>What a <see cref="MergeFunction"/> works on; valid during the call.</summary>
public readonly ref struct MergeInput
{
    /// <summary>The key.</summary>
    public ReadOnlySpan<byte> Key { get; init; }

    /// <summary>Whether the key is there; one that has expired when the write is accepted is not.</summary>
    public bool Exists { get; init; }

    /// <summary>The value; empty if the key is not there.</summary>
    public ReadOnlySpan<byte> Existing { get; init; }

    /// <summary>The operand.</summary>
    public ReadOnlySpan<byte> Operand { get; init; }
}
