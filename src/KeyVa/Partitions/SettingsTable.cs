using System.Text;
using KeyVa.Io;

namespace KeyVa.Partitions;

/// <summary>
/// A partition's own settings as a part of its state: changed by nothing but the log, so that they are the same on every replica and after a replay; they go into the partition's
/// files with the index that they contain (<see cref="Sessions.PartitionTables"/>).
/// </summary>
/// <remarks>
/// As bytes (docs/format.md, A partition's settings), the same on every replica:
/// <code>
///   version u8 = 1 | count u8 | per setting, by name: length u8 | name, UTF-8 | length u8 | value, UTF-8
/// </code>
/// Thread-safety: changed by the partition's writer alone. <see cref="Current"/> and <see cref="Capture"/> show what it was at the end of the last group, on any thread.
/// </remarks>
internal sealed class SettingsTable
{
    private const byte FormatVersion = 1;

    // Of the group that is being applied; null: it has changed nothing.
    private PartitionSettings? _next;
    private PartitionSettings _published = PartitionSettings.None;

    /// <summary>As of the end of the last group.</summary>
    public PartitionSettings Current => Volatile.Read(ref _published);

    /// <summary>Whether this build knows a setting and takes a value for it.</summary>
    public static bool Knows(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value) => PartitionSettings.None.TryWith(Encoding.UTF8.GetString(name), Encoding.UTF8.GetString(value), out _);

    /// <summary>Changes one; false if this build does not know it, and nothing is changed.</summary>
    public bool TrySet(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        if (!(_next ?? _published).TryWith(Encoding.UTF8.GetString(name), Encoding.UTF8.GetString(value), out PartitionSettings? changed))
        {
            return false;
        }

        _next = changed;
        return true;
    }

    /// <summary>The group is applied.</summary>
    public void Publish()
    {
        if (_next is { } next)
        {
            Volatile.Write(ref _published, next);
            _next = null;
        }
    }

    /// <summary>The table as bytes; empty if nothing is set.</summary>
    public byte[] Capture()
    {
        IReadOnlyList<KeyValuePair<string, string>> all = Current.All;
        if (all.Count == 0)
        {
            return [];
        }

        using var buffer = new NativeBuffer();
        buffer.AppendByte(FormatVersion);
        buffer.AppendByte((byte)all.Count);
        foreach ((string name, string value) in all)
        {
            Append(buffer, name);
            Append(buffer, value);
        }

        return buffer.Written.ToArray();
    }

    /// <summary>Fills an empty table with what <see cref="Capture"/> gave; false for anything else. Throws <see cref="StoreException"/> for what a newer build has written.</summary>
    public bool TryLoad(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty)
        {
            return true;
        }

        if (bytes.Length < 2 || bytes[1] == 0)
        {
            return false;
        }

        if (bytes[0] != FormatVersion)
        {
            throw new StoreException($"the partition's settings have format {bytes[0]}; this build reads {FormatVersion}: use the build that wrote them, or a newer one");
        }

        PartitionSettings read = PartitionSettings.None;
        int count = bytes[1];
        bytes = bytes[2..];
        for (int i = 0; i < count; i++)
        {
            if (!TryTake(ref bytes, out string name) || !TryTake(ref bytes, out string value))
            {
                return false;
            }

            read = read.TryWith(name, value, out PartitionSettings? with) ? with : throw Unknown(name, value);
        }

        _published = read;
        return bytes.IsEmpty && read.All.Count == count;
    }

    /// <summary>What is said of a setting that this build does not know.</summary>
    public static StoreException Unknown(string name, string value) =>
        new($"the partition has the setting '{name}' = '{value}', which this build does not know; use the build that wrote it, or a newer one");

    private static void Append(NativeBuffer buffer, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        buffer.AppendByte(checked((byte)bytes.Length));
        buffer.Append(bytes);
    }

    private static bool TryTake(ref ReadOnlySpan<byte> bytes, out string text)
    {
        text = "";
        if (bytes.IsEmpty || bytes[0] >= bytes.Length)
        {
            return false;
        }

        text = Encoding.UTF8.GetString(bytes.Slice(1, bytes[0]));
        bytes = bytes[(1 + bytes[0])..];
        return true;
    }
}
