using KeyVa.Io;

namespace KeyVa.Cluster.Transport;

/// <summary>
/// One stream, on the receiver's side: files that grow in a folder, from the first to the last. Bytes are taken at the position that is due and
/// at no other, so that what was lost, doubled or damaged on the way shows as a gap, and is asked for again. Time is given with each call. Not thread-safe.
/// </summary>
internal sealed class SnapshotReceiving : IDisposable
{
    // Constant.
    private readonly IFileSystem _fileSystem;
    private readonly SnapshotStreamOptions _options;
    private readonly IBulkChannel _channel;
    private readonly SnapshotOffer _offer;

    private StorageFile? _file;
    private int _fileNumber;
    private long _fileStart;
    private long _position;
    private long _granted;
    private uint _checksum;
    private long _askedAt = -1;
    private TimeSpan _askedAgain;

    public SnapshotReceiving(
        ulong peer, ulong stream, SnapshotOffer offer, string directory,
        IBulkChannel channel, IFileSystem fileSystem, SnapshotStreamOptions options, TimeSpan now)
    {
        Peer = peer;
        Stream = stream;
        _offer = offer;
        Directory = directory;
        _channel = channel;
        _fileSystem = fileSystem;
        _options = options;
        LastHeard = now;
    }

    public ulong Peer { get; }

    public ulong Stream { get; }

    public string Directory { get; }

    /// <summary>When the sender was heard last.</summary>
    public TimeSpan LastHeard { get; private set; }

    /// <summary>Tells the sender where to begin, or to go on.</summary>
    public void Accept(TimeSpan now)
    {
        LastHeard = now;
        _askedAt = _position;
        _askedAgain = now + _options.Retry;
        _granted = _position + _options.WindowBytes;
        Span<byte> message = stackalloc byte[SnapshotMessage.HeaderBytes + 16];
        _ = _channel.TrySend(Peer, message[..SnapshotMessage.Write(message, SnapshotMessageKind.Accept, Stream, (ulong)_position, (ulong)_granted)]);
    }

    /// <summary>
    /// Writes a chunk, if it is the one that is due. False: no sender that keeps to the protocol sends it, and the stream is broken.
    /// Throws a <see cref="StorageException"/> if the disk fails.
    /// </summary>
    public bool Take(ReadOnlySpan<byte> message, TimeSpan now)
    {
        LastHeard = now;
        if (!SnapshotMessage.TryReadNumber(message, 0, out ulong position))
        {
            return false;
        }

        ReadOnlySpan<byte> data = message[SnapshotMessage.ChunkHeaderBytes..];
        if (position != (ulong)_position)
        {
            if (position > (ulong)_position)
            {
                AskAgain(now);
            }

            return true;
        }

        OpenDueFile();
        if (data.IsEmpty || _file is null || data.Length > _fileStart + _offer.Files[_fileNumber].Bytes - _position || _position + data.Length > _granted)
        {
            return false;
        }

        _file.Write(_position - _fileStart, data);
        _file.BeginWriteBack(_position - _fileStart, data.Length);
        _checksum = Crc32C.Extend(_checksum, data);
        _position += data.Length;
        if (_position == _fileStart + _offer.Files[_fileNumber].Bytes)
        {
            CloseFile();
        }

        Grant();
        return true;
    }

    /// <summary>
    /// The sender has sent everything. True if it is here and durable, its folder's entries too; null if something is missing and was asked for; false if the whole is not
    /// what was sent. Throws a <see cref="StorageException"/> if the disk fails.
    /// </summary>
    public bool? Complete(ReadOnlySpan<byte> message, TimeSpan now)
    {
        LastHeard = now;
        if (!SnapshotMessage.TryReadNumber(message, 0, out ulong checksum))
        {
            return false;
        }

        if (_position < _offer.TotalBytes)
        {
            AskAgain(now);
            return null;
        }

        if (checksum != _checksum)
        {
            return false;
        }

        OpenDueFile();
        _fileSystem.SyncDirectory(Directory);
        return true;
    }

    public void Dispose()
    {
        _file?.Dispose();
        _file = null;
    }

    /// <summary>Opens the file of the position; those before it that are empty come about on the way.</summary>
    private void OpenDueFile()
    {
        while (_file is null && _fileNumber < _offer.Files.Count)
        {
            OfferedFile due = _offer.Files[_fileNumber];
            _file = _fileSystem.Create(Path.Combine(Directory, due.Name));
            if (due.Bytes == 0)
            {
                CloseFile();
            }
        }
    }

    private void CloseFile()
    {
        _file!.Sync();
        _file.Dispose();
        _file = null;
        _fileStart += _offer.Files[_fileNumber].Bytes;
        _fileNumber++;
    }

    private void Grant()
    {
        // In quarters: a word for each chunk would be as many messages back as forth.
        long limit = _position + _options.WindowBytes;
        if (limit - _granted >= _options.WindowBytes / 4)
        {
            _granted = limit;
            Span<byte> message = stackalloc byte[SnapshotMessage.HeaderBytes + 8];
            _ = _channel.TrySend(Peer, message[..SnapshotMessage.Write(message, SnapshotMessageKind.Credit, Stream, (ulong)limit)]);
        }
    }

    /// <summary>Once for each gap: everything behind it that is on its way shows the same gap.</summary>
    private void AskAgain(TimeSpan now)
    {
        if (_askedAt != _position || now >= _askedAgain)
        {
            Accept(now);
        }
    }
}
