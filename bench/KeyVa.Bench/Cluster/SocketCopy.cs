using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using KeyVa.Cluster.Transport;

namespace KeyVa.Bench.Cluster;

/// <summary>What moving files to another node can be compared with: the same files through one socket of loopback, by read and write calls of 256 KiB, each synced.</summary>
internal static class SocketCopy
{
    public const int FileBytes = 32 << 20;
    public const string Settings = "the same files through one socket, each synced, by read and write calls of 256 KiB";

    private const int CallBytes = 256 << 10;

    /// <summary>So many files of <see cref="FileBytes"/>, on disk and in the page cache.</summary>
    public static List<SnapshotFile> Make(string folder, long count)
    {
        byte[] bytes = new byte[FileBytes];
        new Random(1).NextBytes(bytes);
        List<SnapshotFile> files = [];
        for (long i = 0; i < count; i++)
        {
            string path = Path.Combine(folder, $"{i:D6}.sst");
            File.WriteAllBytes(path, bytes);
            files.Add(new SnapshotFile(Path.GetFileName(path), path));
        }

        Native.SyncDisks();
        return files;
    }

    /// <summary>Copies them into a folder that it makes; operations are MiB.</summary>
    public static Sample Run(List<SnapshotFile> files, string target)
    {
        Directory.CreateDirectory(target);
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        int port = ((IPEndPoint)listener.LocalEndpoint).Port;
        long begun = Stopwatch.GetTimestamp();
        Thread sender = new(() => Send(files, port));
        sender.Start();
        using (Socket socket = listener.AcceptSocket())
        {
            byte[] buffer = new byte[CallBytes];
            foreach (SnapshotFile file in files)
            {
                using FileStream copy = new(Path.Combine(target, file.Name), FileMode.CreateNew, FileAccess.Write, FileShare.None, 0);
                for (long left = FileBytes; left > 0;)
                {
                    int read = socket.Receive(buffer.AsSpan(0, (int)Math.Min(buffer.Length, left)));
                    copy.Write(buffer.AsSpan(0, read));
                    left -= read > 0 ? read : throw new InvalidOperationException("the copy broke off");
                }

                copy.Flush(flushToDisk: true);
            }
        }

        sender.Join();
        return new Sample { Operations = (long)files.Count * (FileBytes >> 20), Seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds };
    }

    private static void Send(List<SnapshotFile> files, int port)
    {
        using Socket socket = new(SocketType.Stream, ProtocolType.Tcp);
        socket.Connect(IPAddress.Loopback, port);
        byte[] buffer = new byte[CallBytes];
        foreach (SnapshotFile file in files)
        {
            using FileStream source = new(file.Path, FileMode.Open, FileAccess.Read, FileShare.Read, 0);
            while (source.Read(buffer) is > 0 and int read)
            {
                for (int at = 0; at < read;)
                {
                    at += socket.Send(buffer.AsSpan(at, read - at));
                }
            }
        }
    }
}
