namespace KeyVa;

/// <summary>What must hold of a key for a write to happen.</summary>
public enum ConditionKind : byte
{
    /// <summary>No condition.</summary>
    None = 0,

    /// <summary>The key does not exist.</summary>
    IfAbsent = 1,

    /// <summary>The key exists.</summary>
    IfPresent = 2,

    /// <summary>The key exists at exactly the given version.</summary>
    IfVersion = 3,

    /// <summary>The key exists with exactly the given value.</summary>
    IfValue = 4,
}

/// <summary>A condition on one key of a write; the default value is no condition. Evaluated when the write is applied.</summary>
public readonly struct Condition
{
    private Condition(ConditionKind kind, long version = 0, ReadOnlyMemory<byte> value = default)
    {
        Kind = kind;
        Version = version;
        Value = value;
    }

    /// <summary>The key must not exist.</summary>
    public static Condition IfAbsent => new(ConditionKind.IfAbsent);

    /// <summary>The key must exist.</summary>
    public static Condition IfPresent => new(ConditionKind.IfPresent);

    /// <summary>What is asked for.</summary>
    public ConditionKind Kind { get; }

    /// <summary>The version asked for by <see cref="ConditionKind.IfVersion"/>.</summary>
    public long Version { get; }

    /// <summary>The value asked for by <see cref="ConditionKind.IfValue"/>.</summary>
    public ReadOnlyMemory<byte> Value { get; }

    /// <summary>The key must exist at exactly this version.</summary>
    public static Condition IfVersion(long version) => new(ConditionKind.IfVersion, version);

    /// <summary>The key must exist with exactly this value. The memory must not change until the write is done.</summary>
    public static Condition IfValue(ReadOnlyMemory<byte> value) => new(ConditionKind.IfValue, 0, value);
}
