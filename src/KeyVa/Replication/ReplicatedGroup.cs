using KeyVa.Partitions;

namespace KeyVa.Replication;

/// <summary>Requests of this node's callers that travel through a replicated log together. Owned by whoever drives the partition's log.</summary>
internal sealed class ReplicatedGroup
{
    // A field: completing changes it.
    private WriteGroup _requests;

    public ReplicatedGroup(in WriteGroup requests)
    {
        _requests = requests;
        for (WriteRequest? request = requests.First; request is not null; request = request.Next)
        {
            Count++;
            Bytes += sizeof(uint) + request.Command!.Buffer.Length;
            HasOperations |= request.Command.Count > 0;
            Format = Math.Max(Format, request.Command.Format);
        }
    }

    /// <summary>Its commands.</summary>
    public int Count { get; }

    /// <summary>Bytes of the commands with their lengths.</summary>
    public int Bytes { get; }

    /// <summary>Whether any command does anything; one without operations only brings the log's stamp up to the clock.</summary>
    public bool HasOperations { get; }

    /// <summary>The payload's format.</summary>
    public byte Format { get; } = GroupEntry.Format;

    /// <summary>The first request, the others behind it.</summary>
    public WriteRequest? First => _requests.First;

    /// <summary>
    /// The commands as the payload of a group with a long head (docs/format.md, Commands), behind <paramref name="headroom"/> bytes that are the caller's.
    /// Version and stamp are 0: whoever leads fills them in (<see cref="ReplicatedWriter.Seal"/>).
    /// </summary>
    public byte[] Encode(int headroom)
    {
        byte[] bytes = new byte[headroom + GroupEntry.HeaderBytes + Bytes];
        Span<byte> rest = bytes.AsSpan(headroom);
        GroupEntry.WriteHeader(rest, Format, version: 0, stamp: 0, Count);
        rest = rest[GroupEntry.HeaderBytes..];
        for (WriteRequest? request = First; request is not null; request = request.Next)
        {
            ReadOnlySpan<byte> command = request.Command!.Buffer.Written;
            System.Buffers.Binary.BinaryPrimitives.WriteInt32LittleEndian(rest, command.Length);
            command.CopyTo(rest[sizeof(uint)..]);
            rest = rest[(sizeof(uint) + command.Length)..];
        }

        return bytes;
    }

    /// <summary>Ends all of them with the results that they have.</summary>
    public void Complete() => _requests.Complete();

    /// <summary>Ends all of them with one result.</summary>
    public void Complete(in WriteResult result) => _requests.Complete(result);
}
