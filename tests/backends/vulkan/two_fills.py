"""A program of its own: fills a buffer twice, rightly or with a mistake; `wrong` and `hazard`."""

import sys

import vulkan as vk

mistake = sys.argv[1]
application = vk.VkApplicationInfo(pApplicationName="fills", apiVersion=vk.VK_MAKE_VERSION(1, 2, 0))
made = vk.VkInstanceCreateInfo(pApplicationInfo=application)
instance = vk.vkCreateInstance(made, None)
physical = vk.vkEnumeratePhysicalDevices(instance)[0]
queue_info = vk.VkDeviceQueueCreateInfo(queueFamilyIndex=0, queueCount=1, pQueuePriorities=[1.0])
device_info = vk.VkDeviceCreateInfo(queueCreateInfoCount=1, pQueueCreateInfos=[queue_info])
device = vk.vkCreateDevice(physical, device_info, None)

usage = vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT
buffer = vk.vkCreateBuffer(device, vk.VkBufferCreateInfo(size=256, usage=usage), None)
needs = vk.vkGetBufferMemoryRequirements(device, buffer)
kind = next(index for index in range(32) if needs.memoryTypeBits >> index & 1)
room = vk.VkMemoryAllocateInfo(allocationSize=needs.size, memoryTypeIndex=kind)
memory = vk.vkAllocateMemory(device, room, None)
vk.vkBindBufferMemory(device, buffer, memory, 0)

pool = vk.vkCreateCommandPool(device, vk.VkCommandPoolCreateInfo(queueFamilyIndex=0), None)
wanted = vk.VkCommandBufferAllocateInfo(
    commandPool=pool, level=vk.VK_COMMAND_BUFFER_LEVEL_PRIMARY, commandBufferCount=1
)
commands = vk.vkAllocateCommandBuffers(device, wanted)[0]
vk.vkBeginCommandBuffer(commands, vk.VkCommandBufferBeginInfo())
vk.vkCmdFillBuffer(commands, buffer, 0, 256, 1)
if mistake != "hazard":
    write = vk.VK_ACCESS_TRANSFER_WRITE_BIT
    barrier = vk.VkMemoryBarrier(srcAccessMask=write, dstAccessMask=write)
    stage = vk.VK_PIPELINE_STAGE_TRANSFER_BIT
    vk.vkCmdPipelineBarrier(commands, stage, stage, 0, 1, [barrier], 0, None, 0, None)
vk.vkCmdFillBuffer(commands, buffer, 2 if mistake == "wrong" else 0, 128, 2)
vk.vkEndCommandBuffer(commands)

queue = vk.vkGetDeviceQueue(device, 0, 0)
work = vk.VkSubmitInfo(commandBufferCount=1, pCommandBuffers=[commands])
fence = vk.vkCreateFence(device, vk.VkFenceCreateInfo(), None)
vk.vkQueueSubmit(queue, 1, [work], fence)
vk.vkWaitForFences(device, 1, [fence], vk.VK_TRUE, 10**10)
vk.vkDestroyFence(device, fence, None)
vk.vkDestroyCommandPool(device, pool, None)
vk.vkDestroyBuffer(device, buffer, None)
vk.vkFreeMemory(device, memory, None)
vk.vkDestroyDevice(device, None)
vk.vkDestroyInstance(instance, None)
