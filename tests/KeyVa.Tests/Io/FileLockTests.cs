using System.Runtime.InteropServices;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Io;

public sealed partial class FileLockTests
{
    [Fact]
    public void ACopyOfItsDescriptorDoesNotKeepALockThatWasLetGo()
    {
        string folder = Directory.CreateTempSubdirectory("keyva-lock-").FullName;
        try
        {
            string path = Path.Combine(folder, "LOCK");
            var files = new DiskFileSystem();
            FileLock held = Assert.IsType<FileLock>(files.TryLock(path));

            // As a process has it that was forked a moment ago and has not begun its program yet.
            int copy = Copy(DescriptorOf(path));
            Assert.True(copy >= 0);
            try
            {
                Assert.Null(files.TryLock(path));
                held.Dispose();
                held.Dispose();
                using IDisposable? again = files.TryLock(path);
                Assert.NotNull(again);
            }
            finally
            {
                Assert.Equal(0, Close(copy));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static int DescriptorOf(string path) => Directory.EnumerateFiles("/proc/self/fd")
        .Where(link => new FileInfo(link).LinkTarget == path)
        .Select(static link => int.Parse(Path.GetFileName(link)))
        .Single();

    [LibraryImport("libc", EntryPoint = "dup", SetLastError = true)]
    private static partial int Copy(int descriptor);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    private static partial int Close(int descriptor);
}
