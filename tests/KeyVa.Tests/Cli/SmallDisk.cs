using System.Diagnostics;

namespace KeyVa.Tests.Cli;

/// <summary>
/// A file system of a few megabytes that really runs full: a tmpfs in a mount namespace of its own, which a process holds
/// open. Nothing of it is seen or left outside, whatever becomes of the test. It needs either root with the right to mount
/// or a kernel that gives users namespaces of their own; where there is neither, the tests that need it fail and say so.
/// </summary>
internal sealed class SmallDisk : IDisposable
{
    private readonly Process _holder;
    private readonly bool _asUser;

    private SmallDisk(Process holder, bool asUser)
    {
        _holder = holder;
        _asUser = asUser;
    }

    /// <summary>Where the file system is, for a program run by <see cref="Launcher"/>.</summary>
    public static string Folder => "/mnt";

    /// <summary>Where it is for everybody else.</summary>
    public string Outside => $"/proc/{_holder.Id}/root{Folder}";

    /// <summary>Runs a program where the file system can be seen.</summary>
    public string[] Launcher => _asUser
        ? ["nsenter", "--user", "--preserve-credentials", "--mount", $"--target={_holder.Id}", "--"]
        : ["nsenter", "--mount", $"--target={_holder.Id}", "--"];

    public static SmallDisk Mount(int megabytes) =>
        TryMount(megabytes, asUser: false) ?? TryMount(megabytes, asUser: true)
            ?? throw new InvalidOperationException(
                "no small file system could be mounted; run the tests as root with CAP_SYS_ADMIN, or allow unprivileged user namespaces");

    public void Dispose()
    {
        _holder.StandardInput.Close();
        _holder.WaitForExit();
        _holder.Dispose();
    }

    private static SmallDisk? TryMount(int megabytes, bool asUser)
    {
        string[] arguments =
        [
            "--mount", .. asUser ? new[] { "--map-root-user" } : [],
            "sh", "-c", $"mount -t tmpfs -o size={megabytes}m keyva-test {Folder} && echo mounted && exec cat",
        ];
        ProcessStartInfo start = new("unshare", arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        SmallDisk disk = new(Process.Start(start)!, asUser);
        if (disk._holder.StandardOutput.ReadLine() == "mounted")
        {
            return disk;
        }

        disk.Dispose();
        return null;
    }
}
